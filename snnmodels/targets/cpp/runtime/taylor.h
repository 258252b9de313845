// Taylor steps of a printed system (series.py), for a block of lanes that move each by its own steps: step size, first
// crossing of the threshold, and the exact derivative of both.
//
// `walk` moves lanes for a given duration or up to their first crossing and records the steps; `walk_back` is its
// reverse. A step of length h replaces x by P(h), P the Taylor polynomial of order K, with
//     h = min(tol^(1/(K+1)) rho, h_max, what is left),   rho = min over i and k in {K-1, K} of (|X_i,k|/scale_i)^(-1/k).
// h is differentiated as well, so that the gradient is that of what was computed, at any tolerance.
#pragma once
#include "series.h"

namespace snn {

constexpr int orders[] = {3, 4, 6, 8, 12, 16};  // events/series.py: ORDERS
constexpr int n_orders = 6;
constexpr int order_index(int K) {
    int i = 0;
    while (orders[i] != K) i++;
    return i;
}

// ---- polynomials
template <class T> SNN_INLINE T polynomial(const T* c, int K, T t) {
    T s = c[K];
    for (int k = K - 1; k >= 0; k--) s = s * t + c[k];
    return s;
}
template <class T> SNN_INLINE T slope(const T* c, int K, T t) {
    T s = c[K] * double(K);
    for (int k = K - 1; k >= 1; k--) s = s * t + c[k] * double(k);
    return s;
}
// value y and slope d of the polynomials of n states
template <int n, int K, class T> SNN_INLINE void polynomials(const T (*c)[K + 1], T t, T* y, T* d) {
    SNN_IN_REGISTERS
    for (int i = 0; i < n; i++) {
        d[i] = c[i][K];
        y[i] = c[i][K] * t + c[i][K - 1];
    }
    for (int k = K - 2; k >= 0; k--) {
        SNN_IN_REGISTERS
        for (int i = 0; i < n; i++) {
            d[i] = d[i] * t + y[i];
            y[i] = y[i] * t + c[i][k];
        }
    }
}

// ---- crossings of one lane, in Bernstein form: its coefficients bound the polynomial, and their changes of sign the
// number of its roots. No root is missed, and none invented, but for rounding.
constexpr int max_order = orders[n_orders - 1];
constexpr int max_halvings = 45;  // a maximum that close to the threshold counts as below, and is reported

// The bracket of the first root from - to + of a polynomial with Bernstein coefficients p on [low, high]; the bracket
// holds no other root. `grazing` counts intervals given up. Right halves wait until the left ones are done: without
// recursion, so that compilers for a graphics card know what room a thread takes.
SNN_DEVICE inline bool isolate(const double* p, int K, double low, double high, double* left, double* right, long* grazing) {
    struct Waiting { double p[max_order + 1], low, high; int depth; } waiting[max_halvings];
    double here[max_order + 1];
    for (int n = 0, depth = 0;;) {
        int changes = 0, before = 0;
        bool up = false;
        for (int i = 0; i <= K; i++) {
            const int sign = p[i] > 0 ? 1 : p[i] < 0 ? -1 : 0;
            if (sign == 0) continue;
            if (before != 0 && sign != before) {
                changes++;
                up = up || sign > 0;
            }
            before = sign;
        }
        if (up && changes == 1) {
            *left = low;
            *right = high;
            return true;
        }
        if (up && depth < max_halvings) {
            Waiting& later = waiting[n++];
            for (int i = 0; i <= K; i++) later.p[i] = p[i];
            for (int j = 0; j <= K; j++) {  // de Casteljau's scheme leaves the right half there
                here[j] = later.p[0];
                for (int i = 0; i < K - j; i++) later.p[i] = 0.5 * (later.p[i] + later.p[i + 1]);
            }
            later.low = 0.5 * (low + high), later.high = high, later.depth = ++depth;
            high = later.low;
            p = here;
            continue;
        }
        if (up) ++*grazing;
        if (n == 0) return false;
        const Waiting& next = waiting[--n];
        for (int i = 0; i <= K; i++) here[i] = next.p[i];
        low = next.low, high = next.high, depth = next.depth;
        p = here;
    }
}

// The same for sign * sum c_k t^k on [from, h]; from > 0 is a root that has been found already and is taken out.
SNN_DEVICE inline bool isolate_in_step(const double* c, int K, double sign, double from, double h, double* left, double* right, long* grazing) {
    double d[max_order + 1];
    for (int k = 0; k <= K; k++) d[k] = sign * c[k];
    if (from > 0) {
        for (int i = 0; i < K; i++)
            for (int k = K - 1; k >= i; k--) d[k] += from * d[k + 1];
        d[0] = 0;
    }
    double power = 1, choose = 1;
    for (int k = 0; k <= K; k++) {
        d[k] *= power / choose;
        power *= h - from;
        choose = choose * (K - k) / (k + 1);
    }
    for (int j = 1; j <= K; j++)
        for (int i = K; i >= j; i--) d[i] += d[i - 1];
    return isolate(d, K, from, h, left, right, grazing);
}

// Newton's method for a root from - to + inside a bracket.
SNN_DEVICE inline double root(const double* c, int K, double sign, double left, double right) {
    double t = 0.5 * (left + right);
    for (int n = 0; n < 100; n++) {
        const double value = sign * polynomial(c, K, t);
        (value > 0 ? right : left) = t;
        double next = t - value / (sign * slope(c, K, t));
        if (!(next > left && next < right)) next = 0.5 * (left + right);
        const bool close = std::fabs(next - t) <= 2e-16 * std::fabs(t);
        t = next;
        if (close) break;
    }
    return t;
}

// First time in [0, h] at which c crosses 0 upwards. `above`: it is above and has to come below first; kept up to date.
SNN_DEVICE inline bool first_crossing(const double* c, int K, double h, bool* above, double* time, long* grazing) {
    if (!*above && c[0] >= 0) {
        int k = 1;  // the first coefficient that tells where it goes from here: it may leave 0 without slope
        while (k < K && c[k] == 0) k++;
        if (c[k] > 0) {  // at the threshold, exactly or by rounding
            *time = 0;
            return true;
        }
        *above = c[0] > 0;
    }
    if (*above && c[0] < 0 && c[1] <= 0) *above = false;
    double from = 0, left, right;
    while (isolate_in_step(c, K, *above ? -1.0 : 1.0, from, h, &left, &right, grazing)) {
        from = root(c, K, *above ? -1.0 : 1.0, left, right);
        *above = !*above;
        if (*above) {
            *time = from;
            return true;
        }
    }
    return false;
}

// ---- step size. log2 by a parabola on the mantissa, C1 and within 0.01, and differentiated as it is.
SNN_INLINE double mantissa(double x, double* exponent) {
    std::int64_t bits;
    std::memcpy(&bits, &x, 8);
    *exponent = double((bits >> 52) - 1023);
    bits = (bits & 0xfffffffffffffLL) | 0x3ff0000000000000LL;
    std::memcpy(&x, &bits, 8);
    return x;
}
#ifdef SNN_LANES
SNN_INLINE D8 mantissa(D8 x, D8* exponent) {
    const I8 bits = (I8)x;
    *exponent = __builtin_convertvector((bits >> 52) - 1023, D8);
    return (D8)((bits & 0xfffffffffffffLL) | 0x3ff0000000000000LL);
}
#endif
template <class T> SNN_INLINE T log2_roughly(T x) {
    T exponent;
    const T m = mantissa(x, &exponent);
    return exponent + (m - 1.0) * (5.0 - m) * (1.0 / 3);
}
// x log(2) times the derivative of log2_roughly
template <class T> SNN_INLINE T log2_roughly_slope(T x) {
    T exponent;
    const T m = mantissa(x, &exponent);
    return m * (6.0 - 2.0 * m) * (0.69314718055994531 / 3);
}

constexpr std::int64_t IDLE = 0, ADAPTIVE = 1, CAPPED = 2, LAST = 3, CROSSED = 4;    // how a step ended
constexpr std::int64_t RUNNING = 0, ARRIVED = 1, SPIKED = 2, FAILED = 3, RESTING = 4;  // what became of a lane

// Accuracy: tolerance per step relative to `scale`, the absolute size of every state; steps of at most h_max. `check`
// compares P'(h) with f(P(h)) and halves a step whose defect shows that the last two coefficients were small by accident.
template <class S> struct Control {
    double per_scale[S::NX], factor[n_orders], defect[n_orders], tol, h_max;
    bool check;
    Control(double tol, double h_max, const double* scale, bool check = true) : tol(tol), h_max(h_max), check(check) {
        for (int i = 0; i < S::NX; i++) per_scale[i] = 1 / scale[i];
        for (int n = 0; n < n_orders; n++) {
            factor[n] = std::pow(tol, 1.0 / (orders[n] + 1));
            const double bound = 20 * (orders[n] + 1) * tol;
            defect[n] = bound > 1e-11 ? bound : 1e-11;
        }
    }
};

// A block of lanes on its way. The caller sets x, duration, elapsed (0), above and outcome (RUNNING or RESTING).
template <class S> struct Lanes {
    using T = typename S::T;
    T x[S::NX];     // state; after SPIKED just before the reset
    T duration;     // how far to go
    T elapsed;      // how far it went; where it stopped, if SPIKED
    T rate;         // of g at the crossing
    T rho;          // of the last step, for `choose_order`
    Mask<T> above;  // beyond the threshold, which it has to cross downwards first; set it to g > 0 after a jump
    Mask<T> others[S::NE > 1 ? S::NE - 1 : 1];  // the same of the other event functions
    Mask<T> event;  // place of the event function that was crossed, if SPIKED
    Mask<T> outcome;
    long grazing;   // maxima of g that could not be told from the threshold, counted up
};

// A printed system that is followed across its threshold
template <class S> struct Unwatched : S { static constexpr int EVENT = -1, NE = 0; };

template <class S> struct Step {
    using T = typename S::T;
    T x[S::NX];    // at its start
    T h;
    // how it ended + 8 (i + NX (k - K + 1)), of the coefficient that set an ADAPTIVE one; + 8 m, of the event that it CROSSED
    Mask<T> code;
};

template <class S> struct Tape {
    Step<S>* steps;
    long n, capacity;
};

// The lowest order that takes a lane with the last `rho` through a piece in one step; `most` if none does.
inline int choose_order(double tol, double rho, double duration, int most = 12) {
    for (int K : orders)
        if (K >= most || std::pow(tol, 1.0 / (K + 1)) * 0.9 * rho >= duration) return K < most ? K : most;
    return most;
}

template <class S, int K> SNN_INLINE void clear(typename S::T (*b)[K + 1]) {
    for (int i = 0; i < S::NS; i++)
        for (int k = 0; k <= K; k++) b[i][k] = typename S::T{};
}

// An event function, another one for each lane, its gradient and those by the constants at a point
template <class S> SNN_INLINE typename S::T event_at(const typename S::T* c, const typename S::T* x, Mask<typename S::T> which, typename S::T* gx, typename S::T* gc) {
    using T = typename S::T;
    T s[S::NS][1], b[S::NS][1];
    for (int i = 0; i < S::NX; i++) s[i][0] = x[i];
    clear<S, 0>(b);
    for (int j = 0; j < S::NC; j++) gc[j] = T{};
    S::template event<0>(c, s);
    T value = s[S::EVENT][0];
    for (int m = 0; m < S::NE; m++) {
        const Mask<T> this_one = which == m;
        b[S::event_slot(m)][0] = this_one ? as<T>(1.0) : b[S::event_slot(m)][0];
        value = this_one ? s[S::event_slot(m)][0] : value;
    }
    S::event_back(c, s, b, gc);
    for (int i = 0; i < S::NX; i++) gx[i] = b[i][0];
    return value;
}

// Moves lanes that are RUNNING until none is: ARRIVED after `duration`, SPIKED at a crossing before, FAILED where the
// state is no number any more. Returns false if the tape is full: give it more room and call again.
template <class S, int K> SNN_DEVICE bool walk(const typename S::T* c, const Control<S>& control, Lanes<S>& lanes, Tape<S>& tape) {
    using T = typename S::T;
    using M = Mask<T>;
    constexpr int NX = S::NX, place = order_index(K);
    T at[NX];
    for (int i = 0; i < NX; i++) at[i] = lanes.x[i];
    for (;;) {
        M running = lanes.outcome == RUNNING;
        if (!any(running)) return true;
        if (tape.n == tape.capacity) return false;
        Step<S>& step = tape.steps[tape.n++];
        T s[S::NS][K + 1];
        for (int i = 0; i < NX; i++) s[i][0] = step.x[i] = at[i];
        S::template coefficients<K>(c, s);

        // step size
        T most[2];
        M which[2];
        for (int n = 0; n < 2; n++) {
            most[n] = T{};
            which[n] = M{};
            for (int i = 0; i < NX; i++) {
                const T size = magnitude(s[i][K - 1 + n]) * control.per_scale[i];
                const M more = size > most[n];
                most[n] = more ? size : most[n];
                which[n] = more ? M{} + (i + NX * n) : which[n];
            }
            most[n] = log2_roughly(most[n] + 1e-300) * (1.0 / (K - 1 + n));
        }
        const M second = most[1] > most[0];
        lanes.rho = running ? exp((second ? -most[1] : -most[0]) * 0.69314718055994531) : lanes.rho;
        const T adaptive = lanes.rho * control.factor[place];
        const M free = adaptive < control.h_max;
        const T rest = lanes.duration - lanes.elapsed;
        T h = free ? adaptive : as<T>(control.h_max);
        M code = free ? ADAPTIVE + 8 * (second ? which[1] : which[0]) : M{} + CAPPED;
        const M within = h < rest;
        code = within ? code : M{} + LAST;
        h = within ? h : rest;

        T y[NX], speeds[NX];
        for (int tries = 0;; tries++) {
            polynomials<NX, K>(s, h, y, speeds);
            M bad = M{};
            for (int i = 0; i < NX; i++) bad = bad | ((y[i] - y[i] == 0.0) == 0);
            // steps much shorter than they might be need no check: their defect is less by the power K + 1
            const M checked = running ? M{} + (h > 0.25 * smaller(adaptive, as<T>(control.h_max))) : M{};
            if (control.check && any(checked)) {
                T w[S::NS][2];
                for (int i = 0; i < NX; i++) w[i][0] = y[i];
                S::template coefficients<1>(c, w);
                for (int i = 0; i < NX; i++) {
                    const T defect = magnitude(speeds[i] - w[i][1]) * (h * control.per_scale[i]);
                    bad = bad | (checked ? M{} + ((defect <= control.defect[place]) == 0) : M{});
                }
            }
            bad = running ? bad : M{};
            if (!any(bad)) break;
            if (tries == 40 || !control.check) {
                lanes.outcome = bad ? M{} + FAILED : lanes.outcome;
                running = bad ? M{} : running;
                break;
            }
            for (int l = 0; l < Lane<T>::count; l++) {
                if (!lane(bad, l)) continue;
                double shorter = 0.5 * lane(h, l);
                if ((lane(code, l) & 7) == LAST) {  // what is left no longer sets it
                    const bool own = lane(free, l);
                    double limit = own ? lane(adaptive, l) : control.h_max;
                    while (limit > shorter) limit *= 0.5;
                    shorter = limit;
                    put(code, l, own ? ADAPTIVE + 8 * lane(second ? which[1] : which[0], l) : CAPPED);
                }
                put(h, l, shorter);
            }
        }

        M crossed = M{};
        if constexpr (S::EVENT >= 0) {
            S::template event<K>(c, s);
            const T apart = h * S::EVENTS_APART;
            for (int m = 0; m < S::NE; m++) {
                const T* g = s[S::event_slot(m)];
                M& beyond = m ? lanes.others[m - 1] : lanes.above;
                T bound = beyond ? -g[0] : g[0], power = h;
                for (int k = 1; k <= K; k++) {
                    const T term = (beyond ? -g[k] : g[k]) * power;
                    bound = bound + larger(term, T{});
                    power = power * h;
                }
                const M suspect = running ? M{} + (bound > 0.0) : M{};
                if (!any(suspect)) continue;
                for (int l = 0; l < Lane<T>::count; l++) {
                    if (!lane(suspect, l)) continue;
                    double own[K + 1], time;
                    for (int k = 0; k <= K; k++) own[k] = lane(g[k], l);
                    bool above = lane(beyond, l) != 0;
                    // only up to what was crossed before: the first of all counts, of several at once the first in order
                    const bool found = first_crossing(own, K, lane(h, l), &above, &time, &lanes.grazing);
                    put(beyond, l, above ? -1 : 0);
                    if (!found || (lane(crossed, l) && !(time < lane(h, l) - lane(apart, l)))) continue;
                    put(crossed, l, -1);
                    put(h, l, time);
                    put(lanes.event, l, m);
                }
            }
            if (any(crossed)) {
                T gx[NX], gc[S::NC > 0 ? S::NC : 1], speed = T{};
                if constexpr (!S::affine_event) {  // a root of g(P(t)), not of the polynomial of order K near it
                    for (int n = 0; n < 3; n++) {
                        T z[NX];
                        for (int i = 0; i < NX; i++) z[i] = polynomial(s[i], K, h);
                        const T value = event_at<S>(c, z, lanes.event, gx, gc);
                        speed = T{};
                        for (int i = 0; i < NX; i++) speed = speed + gx[i] * slope(s[i], K, h);
                        h = crossed ? larger(h - value / speed, T{}) : h;
                    }
                } else {
                    for (int m = 0; m < S::NE; m++) speed = lanes.event == m ? slope(s[S::event_slot(m)], K, h) : speed;
                }
                lanes.rate = crossed ? speed : lanes.rate;
                for (int i = 0; i < NX; i++) y[i] = polynomial(s[i], K, h);
                code = crossed ? CROSSED + 8 * lanes.event : code;
            }
        }

        step.h = running ? h : T{};
        step.code = running ? code : M{} + IDLE;
        const M ended = running ? M{} + ((code & 7) == LAST) : M{};
        lanes.outcome = crossed ? M{} + SPIKED : (ended ? M{} + ARRIVED : lanes.outcome);
        lanes.elapsed = ended ? lanes.duration : (running ? lanes.elapsed + h : lanes.elapsed);
        const M going = lanes.outcome == RUNNING;
        for (int i = 0; i < NX; i++) {
            lanes.x[i] = running ? y[i] : lanes.x[i];
            at[i] = going ? y[i] : at[i];  // a lane that has stopped is computed at a state that was fine
        }
    }
}

// The reverse of `walk` over steps [begin, end) of its tape.
//
// x_bar      cotangent of the state, in: where the lane stopped (just before the reset), out: at the start
// time_bar   in: dL/d(time of the crossing) of lanes that SPIKED, 0 for others; out: dL/d(time of the start)
// end_bar    dL/d(time of the end) of lanes that ARRIVED is added
// c_bar      cotangents of the constants are added
template <class S, int K>
SNN_DEVICE void walk_back(const typename S::T* c, const Control<S>& control, const Step<S>* steps, long begin, long end,
               typename S::T* x_bar, typename S::T* time_bar, typename S::T* end_bar, typename S::T* c_bar) {
    using T = typename S::T;
    using M = Mask<T>;
    constexpr int NX = S::NX;
    for (long n = end - 1; n >= begin; n--) {
        const Step<S>& step = steps[n];
        const T h = step.h;
        const M how = step.code & 7, coefficient = step.code >> 3;
        const M running = how != IDLE, crossed = how == CROSSED, last = how == LAST, adaptive = how == ADAPTIVE;
        T s[S::NS][K + 1], b[S::NS][K + 1];
        for (int i = 0; i < NX; i++) s[i][0] = step.x[i];
        S::template coefficients<K>(c, s);
        clear<S, K>(b);
        T along = T{}, q[NX], y[NX], speeds[NX];
        polynomials<NX, K>(s, h, y, speeds);
        for (int i = 0; i < NX; i++) {
            q[i] = running ? x_bar[i] : T{};
            along = along + q[i] * speeds[i];
        }
        const T by_h = along + *time_bar;
        if constexpr (S::EVENT >= 0) {
            if (any(crossed)) {
                T gx[NX], gc[S::NC > 0 ? S::NC : 1], speed = T{};
                event_at<S>(c, y, coefficient, gx, gc);
                for (int i = 0; i < NX; i++) speed = speed + gx[i] * speeds[i];
                const T w = crossed ? by_h / speed : T{};
                for (int i = 0; i < NX; i++) q[i] = q[i] - w * gx[i];
                for (int j = 0; j < S::NC; j++) c_bar[j] = c_bar[j] - w * gc[j];
            }
        }
        for (int i = 0; i < NX; i++) {
            T power = q[i];
            for (int k = 0; k <= K; k++) {
                b[i][k] = power;
                power = power * h;
            }
        }
        if (any(adaptive)) {
            const T w = adaptive ? by_h * h : T{};
            for (int i = 0; i < NX; i++)
                for (int m = 0; m < 2; m++) {
                    const int k = K - 1 + m;
                    const T x = s[i][k];
                    const T d = w * log2_roughly_slope(magnitude(x) * control.per_scale[i] + 1e-300) / (x * double(k));
                    b[i][k] = b[i][k] - (coefficient == i + NX * m ? (adaptive ? d : T{}) : T{});
                }
        }
        *end_bar = *end_bar + (last ? along : T{});
        *time_bar = last ? -along : *time_bar;
        S::template back<K>(c, s, b, c_bar);
        for (int i = 0; i < NX; i++) x_bar[i] = running ? b[i][0] : x_bar[i];
    }
}

// ---- the same with the order chosen at run time
#ifdef SNN_LANES
template <class S> bool walk(int K, const typename S::T* c, const Control<S>& control, Lanes<S>& lanes, Tape<S>& tape) {
    switch (K) {
        case 3: return walk<S, 3>(c, control, lanes, tape);
        case 4: return walk<S, 4>(c, control, lanes, tape);
        case 6: return walk<S, 6>(c, control, lanes, tape);
        case 8: return walk<S, 8>(c, control, lanes, tape);
        case 12: return walk<S, 12>(c, control, lanes, tape);
        default: return walk<S, 16>(c, control, lanes, tape);
    }
}
template <class S>
void walk_back(int K, const typename S::T* c, const Control<S>& control, const Step<S>* steps, long begin, long end,
               typename S::T* x_bar, typename S::T* time_bar, typename S::T* end_bar, typename S::T* c_bar) {
    switch (K) {
        case 3: return walk_back<S, 3>(c, control, steps, begin, end, x_bar, time_bar, end_bar, c_bar);
        case 4: return walk_back<S, 4>(c, control, steps, begin, end, x_bar, time_bar, end_bar, c_bar);
        case 6: return walk_back<S, 6>(c, control, steps, begin, end, x_bar, time_bar, end_bar, c_bar);
        case 8: return walk_back<S, 8>(c, control, steps, begin, end, x_bar, time_bar, end_bar, c_bar);
        case 12: return walk_back<S, 12>(c, control, steps, begin, end, x_bar, time_bar, end_bar, c_bar);
        default: return walk_back<S, 16>(c, control, steps, begin, end, x_bar, time_bar, end_bar, c_bar);
    }
}
#endif

}  // namespace snn
