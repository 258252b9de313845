// Leaky integrators, of which the loss reads the maximum over time.
#pragma once

#include "lif.h"

struct Peak {
    enum Kind { none, at_arrival, inside }; // none: v was never above 0, where it starts
    double value, time;
    double rate; // at an arrival: dv/dt just before it, with which the value moves if the arrival does
    int after;   // arrivals before it
    Kind kind;
};

class Readout {
public:
    Readout(const Flow& f, int n) : f(f), n(n), v(1, n), i(1, n), best(1, n), rate(1, n), after(1, n), time(1, n) {}

    void reset() {
        for (Rows* x : {&v, &i, &best, &rate, &time}) x->clear();
        std::fill_n(after[0], after.width, -1.0);
    }

    // Advance over pieces, of which each but the first begins with one arrival.
    void sweep(const Piece* from, const Piece* to, const int* sources, Rows& w) {
        int c = 0;
        for (; c + 2 * LANES <= v.width; c += 2 * LANES) block<2>(from, to, sources, w, c);
        if (c < v.width) block<1>(from, to, sources, w, c);
    }

    void peaks(std::vector<Peak>& to) {
        to.resize(n);
        for (int j = 0; j < n; j++) {
            const double r = rate[0][j];
            const auto kind = after[0][j] < 0 ? Peak::none : r < 0 ? Peak::inside : Peak::at_arrival;
            to[j] = {best[0][j], time[0][j], kind == Peak::at_arrival ? r * f.rate_m : 0, int(after[0][j]), kind};
        }
    }

private:
    template <int B>
    void block(const Piece* from, const Piece* to, const int* sources, Rows& w, int c) {
        V vb[B], ib[B], top[B], slope[B], before[B], when[B];
        const auto each = [&](auto f) {
            for (int b = 0; b < B; b++) {
                const int k = c + LANES * b;
                f(vb[b], v[0] + k), f(ib[b], i[0] + k), f(top[b], best[0] + k);
                f(slope[b], rate[0] + k), f(before[b], after[0] + k), f(when[b], time[0] + k);
            }
        };
        each([](V& x, const double* p) { x = load(p); });
        for (const Piece* p = from; p < to; p++) {
            const double k = f.scale * (p->em - p->es), h = p->length * f.rate_m;
            if (p->arrivals < p->arrivals_end)
                for (int b = 0; b < B; b++) ib[b] += load(w[sources[p->arrivals]] + c + LANES * b);
            Mask within[B], some = first_lanes(0);
            V start_v[B], start_i[B];
            for (int b = 0; b < B; b++) {
                start_v[b] = vb[b], start_i[b] = ib[b];
                const Mask reaches = greater(vb[b] + (ib[b] - vb[b]) * h, top[b]);
                vb[b] = vb[b] * p->em + ib[b] * k;
                ib[b] = ib[b] * p->es;
                const V rises = ib[b] - vb[b];
                const Mask rising = at_least(rises, all(0)), better = greater(vb[b], top[b]) & rising;
                top[b] = pick(better, vb[b], top[b]);
                slope[b] = pick(better, rises, slope[b]);
                before[b] = pick(better, all(p->arrivals_end), before[b]);
                when[b] = pick(better, all(p->start + p->length), when[b]);
                within[b] = reaches & ~rising;
                some = some | within[b];
            }
            if (any(some))
                for (int b = 0; b < B; b++)
                    for (unsigned m = bits(within[b]); m; m &= m - 1) {
                        const int j = __builtin_ctz(m);
                        const double x = start_v[b][j], y = start_i[b][j];
                        const double ratio = y * f.scale * f.rate_s / ((x + y * f.scale) * f.rate_m);
                        const double t = std::log(ratio) / (f.rate_s - f.rate_m);
                        const double value = y * std::exp(-t * f.rate_s); // v = I where v is largest
                        if (value > top[b][j])
                            top[b][j] = value, slope[b][j] = -1, before[b][j] = p->arrivals_end,
                            when[b][j] = p->start + t;
                    }
        }
        each([](V& x, double* p) { store(p, x); });
    }

    const Flow f;
    const int n;
    Rows v, i;
    Rows best, rate, after, time; // of the maximum so far; a rate of -1 stands for one inside a piece
};
