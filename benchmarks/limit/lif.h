// LIF neurons with an exponential synapse, rest and reset at 0, from arrival to arrival; no crossing is missed.
//
//   v(t) = v e_m(t) + I k(t),  I(t) = I e_s(t),  e_x(t) = exp(-t/tau_x),  k = tau_s/(tau_m - tau_s) (e_m - e_s)
#pragma once

#include "lanes.h"

struct Flow {
    double rate_m, rate_s, scale; // rates 1/tau
    Flow(double tau_m, double tau_s) : rate_m(1 / tau_m), rate_s(1 / tau_s), scale(tau_s / (tau_m - tau_s)) {}
};

// A stretch of time without arrivals, the flow over it, and by index: the arrivals at its start, the spikes in it.
struct Piece {
    double start, length, em, es;
    int arrivals, arrivals_end, spikes, spikes_end;
};

// Spikes of a population in one trial, in the order of time.
struct Spikes {
    Stack<double> time, current;  // the current at a spike gives the slopes of v before and after it
    Stack<double> sensitivity;    // derivative of the loss by the time
    Stack<int> neuron;

    int size() const { return time.size(); }
    void clear() {
        time.clear();
        current.clear();
        neuron.clear();
    }
    void room(int more) {
        time.room(more);
        current.room(more);
        neuron.room(more);
    }
    void grow(int by) {
        time.grow(by);
        current.grow(by);
        neuron.grow(by);
    }
    void sort(int first) { // those from `first` on
        const int n = size() - first;
        if (n > 20) spread(first, n);
        double *t = time.data() + first, *c = current.data() + first;
        int* j = neuron.data() + first;
        for (int k = 1; k < n; k++) {
            const double tk = t[k], ck = c[k];
            const int jk = j[k];
            int to = k;
            for (; to > 0 && t[to - 1] > tk; to--) t[to] = t[to - 1], c[to] = c[to - 1], j[to] = j[to - 1];
            t[to] = tk, c[to] = ck, j[to] = jk;
        }
    }

private:
    void spread(int first, int n) { // by bins, so that insertion has little left to do
        const double* t = time.data() + first;
        const auto [low, high] = std::minmax_element(t, t + n);
        const double start = *low, scale = *high > start ? n / (*high - start) * (1 - 1e-12) : 0;
        const auto bin = [&](double x) { return int((x - start) * scale); };
        place.assign(n + 2, 0);
        spare.resize(n);
        for (int k = 0; k < n; k++) place[bin(t[k]) + 1]++;
        for (int k = 0; k < n; k++) place[k + 1] += place[k];
        for (int k = 0; k < n; k++) spare[place[bin(t[k])]++] = {t[k], current[first + k], neuron[first + k]};
        for (int k = 0; k < n; k++)
            time[first + k] = spare[k].time, current[first + k] = spare[k].current, neuron[first + k] = spare[k].neuron;
    }
    struct Spike {
        double time, current;
        int neuron;
    };
    std::vector<Spike> spare;
    std::vector<int> place;
};

struct Crossings {
    Mask found;
    V time, em, es; // after the start, and the flow up to it
};

// First upward crossings of up to eight neurons within a time (flow em_end, es_end over it).
//
// Where v ends above the threshold, the crossing is bracketed: Halley's steps from a guess of time as a cubic of v.
// Else Newton's from the left: while v rises it is concave, so they stay left of the first root, and leaving the time
// or a slope that is not positive proves that there is none.
INLINE Crossings crossings(const Flow& f, double threshold, Mask lanes, V v, V i, V length, V em_end, V es_end) {
    const double rm = f.rate_m, rs = f.rate_s, scale = f.scale;
    const V zero = all(0);
    const V end = v * em_end + i * scale * (em_end - es_end);
    const Mask up = greater(end, all(threshold));
    const V gap = v - threshold, slope = (i - v) * rm;
    V t = -gap / slope;
    if (any(up)) {
        const V bend = -(i * rs + slope) * rm, discriminant = slope * slope - 2 * bend * gap;
        V guess = -2 * gap / (slope + square_root(larger(discriminant, zero))); // of the parabola at the start
        const V rise = end - v, x = -gap / rise, y = 1 - x;
        // slopes of the inverse at both ends, in units of the chord's: where they are tame, so is Hermite's cubic
        const V s0 = rise / (slope * length), s1 = rise / ((i * es_end - end) * rm * length);
        const V cubic = x * (x * (3 - 2 * x) + y * (y * s0 - x * s1));
        const Mask tame = greater(s0, all(0.3)) & greater(all(2.5), s0) & greater(s1, all(0.3)) & greater(all(2.5), s1);
        guess = pick(tame, cubic * length, guess);
        guess = pick(greater(guess, zero) & greater(length, guess), guess, 0.5 * length);
        t = pick(up, guess, t);
    }
    V low = zero, high = length, em = all(1), es = all(1);
    Mask active = lanes & (up | greater(length, t)), found = active;
    const double tolerance = 1e-17 / rs;
    for (int n = 0; n < 80 && any(active); n++) {
        const V em_t = exponential(-t * rm), es_t = exponential(-t * rs);
        const V vt = v * em_t + i * scale * (em_t - es_t), it = i * es_t;
        const V g = vt - threshold, d = (it - vt) * rm, q = -(it * rs + d) * rm;
        const V step = g * d / pick(up, d * d - 0.5 * g * q, d * d);
        const Mask above = greater(g, zero);
        high = pick(above, t, high);
        low = pick(above, low, t);
        V to = t - step;
        // what a step of this length leaves; asked before the bracket is, which rounding may put a last step outside of
        const V a = absolute(step), slow = absolute(d), size = slow * rs + absolute(q), left = a * a * size;
        Mask done = greater(tolerance * pick(up, slow * slow, slow), pick(up, left * a * size, left));
        const Mask lost = up & ~done & ~(at_least(to, low) & at_least(high, to));
        to = pick(lost, 0.5 * (low + high), to);
        done = done | (lost & greater(all(tolerance), absolute(to - t)));
        const Mask none = active & ~up & ((at_least(zero, d) & ~above) | at_least(to, length));
        // the exponentials go along: exact to the fourth order in the last, tiny step
        const V xm = (t - to) * rm, xs = (t - to) * rs;
        em = pick(active, em_t * (1 + xm * (1 + xm * (0.5 + xm * (1 / 6.)))), em);
        es = pick(active, es_t * (1 + xs * (1 + xs * (0.5 + xs * (1 / 6.)))), es);
        t = pick(active, to, t);
        found = found & ~none;
        active = active & ~(done | none);
    }
    return {found, t, em, es};
}

class Lif {
public:
    // once: whether a neuron stops after its first spike
    Lif(const Flow& f, double threshold, int n, bool once = false)
        : f(f), threshold(threshold), once(once), v(1, n), i(1, n), now(n), next(n) {}

    void reset() {
        v.clear();
        i.clear();
    }

    // Add the arrivals at the start of a piece, advance over it, append its spikes in the order of time.
    void sweep(const Piece& p, const int* sources, Rows& w, Spikes& spikes) {
        const int first = spikes.size();
        const double* rows[LANES];
        int a = p.arrivals;
        for (; p.arrivals_end - a > LANES; a++) // only where very many come at once
            for (int c = 0; c < i.width; c += LANES) store(i[0] + c, load(i[0] + c) + load(w[sources[a]] + c));
        const int n = p.arrivals_end - a;
        for (int k = 0; k < n; k++) rows[k] = w[sources[a + k]];
        now.n = 0;
        switch (n) {
        case 0: blocks<0>(p, rows, n); break;
        case 1: blocks<1>(p, rows, n); break;
        case 2: blocks<2>(p, rows, n); break;
        default: blocks<-1>(p, rows, n);
        }
        while (now.n) { // candidates, then those among them that may spike once more in the piece
            next.n = 0;
            spikes.room(now.n);
            for (int k = 0; k < now.n; k += LANES) search(p, k, spikes);
            std::swap(now, next);
        }
        if (spikes.size() > first + 1) spikes.sort(first);
    }

    const Flow f;
    const double threshold;
    const bool once;
    Rows v, i;

private:
    // Neurons that may cross in what is left of a piece: states at a time after its start, and the flow up to its end.
    struct Candidates {
        explicit Candidates(int n) {
            for (auto* x : {&v, &i, &after, &em, &es}) x->room(n + LANES);
            neuron.room(n + LANES);
        }
        Stack<double> v, i, after, em, es;
        Stack<int> neuron;
        int n = 0;
    };

    template <int A> void blocks(const Piece& p, const double* const* rows, int n) {
        int c = 0;
        for (; c + 4 * LANES <= v.width; c += 4 * LANES) block<4, A>(p, c, rows, n);
        for (; c < v.width; c += LANES) block<1, A>(p, c, rows, n);
    }

    template <int B, int A> INLINE void block(const Piece& p, int c, const double* const* rows, int n) {
        double *pv = v[0] + c, *pi = i[0] + c;
        const double k = f.scale * (p.em - p.es), h = p.length * f.rate_m;
        V start_v[B], start_i[B];
        for (int b = 0; b < B; b++) start_v[b] = load(pv + LANES * b), start_i[b] = load(pi + LANES * b);
        for (int a = 0; a < (A < 0 ? n : A); a++)
            for (int b = 0; b < B; b++) start_i[b] += load(rows[a] + c + LANES * b);
        Marks<B> marks;
        for (int b = 0; b < B; b++) {
            // while v rises it is concave, so that it stays below the tangent at the start
            marks.set(b, greater(start_v[b] + (start_i[b] - start_v[b]) * h, all(threshold)));
            store(pv + LANES * b, start_v[b] * p.em + start_i[b] * k);
            store(pi + LANES * b, start_i[b] * p.es);
        }
        if (__builtin_expect(marks.any(), 0))
            for (int b = 0; b < B; b++) {
                if (!any(marks[b])) continue;
                // one that ends below the threshold and still rises has not been above it
                const V end_v = load(pv + LANES * b), end_i = load(pi + LANES * b);
                const Mask m = marks[b] & (greater(end_v, all(threshold)) | greater(end_v, end_i));
                compress(now.v.data() + now.n, m, start_v[b]);
                compress(now.i.data() + now.n, m, start_i[b]);
                store(now.after.data() + now.n, all(0));
                store(now.em.data() + now.n, all(p.em));
                store(now.es.data() + now.n, all(p.es));
                count_up(now.neuron.data() + now.n, m, c + LANES * b);
                now.n += count(m);
            }
    }

    void search(const Piece& p, int k, Spikes& spikes) {
        const V em_end = load(&now.em[k]), es_end = load(&now.es[k]), after = load(&now.after[k]);
        const V length = p.length - after;
        const Crossings x = crossings(f, threshold, first_lanes(now.n - k), load(&now.v[k]), load(&now.i[k]), length,
                                      em_end, es_end);
        const unsigned found = bits(x.found);
        if (!found) return;
        // from the reset on
        const V current = load(&now.i[k]) * x.es, em = em_end / x.em, es = es_end / x.es, at = after + x.time;
        const V end_v = once ? all(-1e30) : current * f.scale * (em - es), end_i = current * es;
        const V last = all(std::nextafter(p.start + p.length, 0.0)); // so that it is in this piece
        const int n = spikes.size();
        compress(spikes.time.data() + n, x.found, smaller(p.start + at, last));
        compress(spikes.current.data() + n, x.found, current);
        compress(spikes.neuron.data() + n, x.found, &now.neuron[k]);
        spikes.grow(__builtin_popcount(found));
        for (unsigned b = found; b; b &= b - 1) v[0][now.neuron[k + __builtin_ctz(b)]] = end_v[__builtin_ctz(b)];
        const Mask more = x.found & greater(current * (length - x.time) * f.rate_m, all(threshold)) &
                          (greater(end_v, all(threshold)) | greater(end_v, end_i));
        if (!any(more)) return;
        store(next.v.data() + next.n, all(0));
        compress(next.i.data() + next.n, more, current);
        compress(next.after.data() + next.n, more, at);
        compress(next.em.data() + next.n, more, em);
        compress(next.es.data() + next.n, more, es);
        compress(next.neuron.data() + next.n, more, &now.neuron[k]);
        next.n += count(more);
    }

    Candidates now, next;
};
