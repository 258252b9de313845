// Populations of one trial, forward and backward.
#pragma once

#include "flow.h"
#include "vectors.h"

// Neurons that spike. Rest and reset are at 0.
class Lif {
public:
    Lif(int n) : v0(1, n), i0(1, n), v1(1, n), i1(1, n), last(n), bits(v0.vectors + VECTORS) {}

    void reset() {
        v0.clear();
        i0.clear();
        std::fill(last.begin(), last.end(), -1e6);
    }

    // Deliver the arrivals of the last step, go a step, resolve the spikes in it.
    void step(const Flow& f, double v_th, int n, const Arrival* from, const Arrival* to, Rows& w, Events& events) {
        int b = 0;
        if (from == to) {
            quiet(f, v_th);
            for (int c = 0; c < v0.vectors; c += VECTORS) {
                unsigned block;
                std::memcpy(&block, &bits[c], sizeof block);
                if (block) search(f, v_th, n, c, block, events);
            }
        } else {
            for (; b + VECTORS <= v0.vectors; b += VECTORS)
                search(f, v_th, n, b, block<VECTORS>(f, v_th, b, from, to, w), events);
            for (; b < v0.vectors; b++) search(f, v_th, n, b, block<1>(f, v_th, b, from, to, w), events);
        }
        v0.swap(v1);
        i0.swap(i1);
    }

private:
    // These return bits that are set for neurons above the threshold at the start of the step or at its end.
    void quiet(const Flow& f, double v_th) {
        const V *start_v = v0[0], *start_i = i0[0];
        V *end_v = v1[0], *end_i = i1[0];
        const double em = f.em_dt, es = f.es_dt, k = f.k_dt;
        for (int c = 0; c < v0.vectors; c++) {
            const V v = start_v[c], i = start_i[c], after = v * em + i * k;
            bits[c] = above(larger(v, after), v_th);
            end_v[c] = after;
            end_i[c] = i * es;
        }
    }

    template <int B> unsigned block(const Flow& f, double v_th, int b, const Arrival* from, const Arrival* to, Rows& w) {
        V v[B], i[B];
        for (int c = 0; c < B; c++) v[c] = v0[0][b + c], i[c] = i0[0][b + c];
        do {
            const V* row = w[from->source] + b;
            for (int c = 0; c < B; c++) v[c] += row[c] * from->k, i[c] += row[c] * from->es;
        } while (++from < to);
        V *start_v = v0[0] + b, *start_i = i0[0] + b;
        for (int c = 0; c < B; c++) start_v[c] = v[c], start_i[c] = i[c];
        return advance<B>(f, v_th, b, v, i);
    }

    template <int B> unsigned advance(const Flow& f, double v_th, int b, const V (&v)[B], const V (&i)[B]) {
        V *end_v = v1[0] + b, *end_i = i1[0] + b;
        const double em = f.em_dt, es = f.es_dt, k = f.k_dt;
        unsigned bits = 0;
        for (int c = 0; c < B; c++) {
            const V after = v[c] * em + i[c] * k;
            bits |= above(larger(v[c], after), v_th) << LANES * c;
            end_v[c] = after;
            end_i[c] = i[c] * es;
        }
        return bits;
    }

    void search(const Flow& f, double v_th, int n, int b, unsigned bits, Events& events) {
        for (; bits; bits &= bits - 1) resolve(f, v_th, n, b * LANES + __builtin_ctz(bits), events);
    }

    __attribute__((noinline))
    void resolve(const Flow& f, double v_th, int n, int j, Events& events) {
        const double v = v0.at(0)[j], i = i0.at(0)[j];
        double low = 0, high = f.dt;
        bool resolved = true;
        if (v > v_th) {
            // arrivals of the last step caused it: it lies in that step, but after the neuron's last spike
            low = -std::min(n * f.dt - last[j], f.dt);
            high = 0;
            const double em = f.em(low), es = f.es(low);
            resolved = !(v * em + i * f.k(em, es) > v_th);
        }
        const double r = resolved ? crossing(f, v_th, v, i, low, high) : low;
        const double em = f.em(r), es = f.es(r), k = f.k(em, es), current = i * es;
        const Arrival arrival(f, j, n, f.dt - r, f.em_dt / em, f.es_dt / es);
        v1.at(0)[j] = current * arrival.k; // from the reset on
        last[j] = n * f.dt + r;
        events.arrivals.push_back(arrival);
        events.spikes.push_back({r, em, es, k, current, (current - v * em - i * k) * f.rate_m, 0.0, resolved});
    }

    Rows v0, i0, v1, i1; // at the start of the step, and at its end
    std::vector<double> last;
    std::vector<unsigned char> bits; // of each vector, padded with 0
};

// The largest potential of a readout, met at the time r after the grid point `origin` (before it if r < 0).
struct Peak {
    double value, rate, em, k; // rate and flow at r
    int origin, step, source;  // step and source of the arrival that it coincides with, or -1
};

// Leaky integrators, and the maxima of their potentials.
class Readout {
public:
    Readout(int n) : v(1, n), i(1, n) {}

    void reset(std::vector<Peak>& peaks) {
        v.clear();
        i.clear();
        peaks.assign(v.columns, {0, 0, 1, 0, 0, -1, -1}); // v = 0 at time 0
    }

    void step(const Flow& f, int n, const Arrival* from, const Arrival* to, Rows& w, std::vector<Peak>& peaks) {
        const Arrival *first = nullptr, *last = nullptr;
        for (const Arrival* a = from; a < to; a++) {
            if (!first || a->s > first->s) first = a;
            if (!last || a->s < last->s) last = a;
        }
        // one found a step late may lie before this step, which then holds no piece without arrivals
        if (!first || first->s < f.dt) look(f, n, 0.0, first ? f.dt - first->s : f.dt, first, nullptr, peaks);
        for (int c = 0; c < v.vectors; c++) {
            V vc = v[0][c] * f.em_dt + i[0][c] * f.k_dt, ic = i[0][c] * f.es_dt;
            for (const Arrival* a = from; a < to; a++) {
                const V row = w[a->source][c];
                vc += row * a->k;
                ic += row * a->es;
            }
            v[0][c] = vc;
            i[0][c] = ic;
        }
        if (last) look(f, n + 1, -last->s, 0.0, nullptr, last, peaks);
    }

private:
    // Look for maxima on a piece without arrivals, from low to high relative to a grid point where the state is v, i.
    void look(const Flow& f, int origin, double low, double high, const Arrival* at_high, const Arrival* at_low,
              std::vector<Peak>& peaks) {
        const double em_low = low == 0 ? 1 : f.em(low), es_low = low == 0 ? 1 : f.es(low), k_low = f.k(em_low, es_low);
        const double em_high = high == 0 ? 1 : high == f.dt ? f.em_dt : f.em(high);
        const double es_high = high == 0 ? 1 : high == f.dt ? f.es_dt : f.es(high), k_high = f.k(em_high, es_high);
        const double longest = (high - low) * f.rate_m;
        for (int j = 0; j < v.columns; j++) {
            const double vj = v.at(0)[j], ij = i.at(0)[j];
            const double v_low = vj * em_low + ij * k_low, i_low = ij * es_low;
            // e_m <= 1 and k(t) <= t/tau_m from there on: most pieces can't hold the maximum
            if (std::max(v_low, 0.0) + std::max(i_low, 0.0) * longest <= peaks[j].value) continue;
            const double v_high = vj * em_high + ij * k_high, i_high = ij * es_high;
            const Arrival* kink = nullptr;
            Peak p;
            if (v_low > i_low) {
                p = {v_low, (i_low - v_low) * f.rate_m, em_low, k_low, origin, -1, -1};
                kink = at_low;
            } else if (!(v_high > i_high)) {
                p = {v_high, (i_high - v_high) * f.rate_m, em_high, k_high, origin, -1, -1};
                kink = at_high;
            } else {
                // dv/dt = 0 in closed form
                const double ratio = ij * f.scale * f.rate_s / ((vj + ij * f.scale) * f.rate_m);
                const double r = std::log(ratio) / (f.rate_s - f.rate_m);
                const double em = f.em(r), es = f.es(r), k = f.k(em, es);
                p = {vj * em + ij * k, 0.0, em, k, origin, -1, -1};
            }
            if (!(p.value > peaks[j].value)) continue;
            if (kink) p.step = kink->step, p.source = kink->source;
            peaks[j] = p;
        }
    }

    Rows v, i;
};

// Costates of a population: at the end of a step, then at its start.
class Costates {
public:
    Costates(int n) : v(1, n), i(1, n) {}

    void clear() {
        v.clear();
        i.clear();
    }

    void add(int j, double to_v, double to_i) {
        v.at(0)[j] += to_v;
        i.at(0)[j] += to_i;
    }

    // dL/dt of an arrival with the given weights, later being positive
    double time(const Flow& f, const Arrival& a, const V* w) {
        V total{};
        for (int c = 0; c < v.vectors; c++) total += w[c] * (i[0][c] * (a.es * f.rate_s) - v[0][c] * a.k_rate);
        return sum(total);
    }

    // What a spike leaves of its neuron's costates at the start of the step; q: dL/dt through everybody else.
    void jump(const Flow& f, const Arrival& a, const Spike& e, double q) {
        const double lv = v.at(0)[a.source], li = i.at(0)[a.source];
        const double sigma = q + e.sensitivity - lv * e.current * (a.k * f.rate_s + a.k_rate);
        const double shift = e.resolved ? sigma / e.slope : 0.0;
        jumped.push_back({a.source, -shift * e.em, li * f.es_dt + lv * e.es * a.k - shift * e.k});
    }

    // Add to the gradients of the weights that the arrivals of this step came by, and go a step back.
    void step(const Flow& f, const Arrival* from, const Arrival* to, Rows& gradient) {
        if (from == to) {
            V *all_v = v[0], *all_i = i[0];
            const double em = f.em_dt, es = f.es_dt, k = f.k_dt;
            for (int c = 0; c < v.vectors; c++) {
                const V lv = all_v[c];
                all_v[c] = lv * em;
                all_i[c] = all_i[c] * es + lv * k;
            }
        } else {
            int b = 0;
            for (; b + VECTORS <= v.vectors; b += VECTORS) block<VECTORS>(f, b, from, to, gradient);
            for (; b < v.vectors; b++) block<1>(f, b, from, to, gradient);
        }
        for (const Jumped& x : jumped) v.at(0)[x.neuron] = x.v, i.at(0)[x.neuron] = x.i;
        jumped.clear();
    }

private:
    template <int B> void block(const Flow& f, int b, const Arrival* from, const Arrival* to, Rows& gradient) {
        V lv[B], li[B];
        for (int c = 0; c < B; c++) lv[c] = v[0][b + c], li[c] = i[0][b + c];
        for (; from < to; from++) {
            V* row = gradient[from->source] + b;
            const double es = from->es, k = from->k;
            for (int c = 0; c < B; c++) row[c] += li[c] * es + lv[c] * k;
        }
        V *start_v = v[0] + b, *start_i = i[0] + b;
        const double em = f.em_dt, es = f.es_dt, k = f.k_dt;
        for (int c = 0; c < B; c++) {
            start_v[c] = lv[c] * em;
            start_i[c] = li[c] * es + lv[c] * k;
        }
    }

    struct Jumped {
        int neuron;
        double v, i;
    };
    Rows v, i;
    std::vector<Jumped> jumped;
};
