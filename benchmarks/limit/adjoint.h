// Costates of a population, as amplitudes at the start of a window: they change only at a neuron's own events.
//
// At the time t after the start of the window, lambda_v = p g_m, lambda_I = q g_s + scale lambda_v, g_x = exp(t/tau_x).
#pragma once

#include "lif.h"

// exp(t/tau) of both rates for times in a window.
struct Growth {
    Stack<double> m, s;
    void set(const Flow& f, const double* times, int n, double start) {
        double *pm = m.resize(n), *ps = s.resize(n);
        for (int k = 0; k < n; k += LANES) {
            const V t = load(times + k) - start;
            store(pm + k, exponential(t * f.rate_m));
            store(ps + k, exponential(t * f.rate_s));
        }
    }
};

class Costates {
public:
    Costates(const Flow& f, double threshold, int n) : f(f), threshold(threshold), p(1, n), q(1, n) {}

    void clear() {
        p.clear();
        q.clear();
        active = false;
    }

    // From the start of a window to that of the window before.
    void age(double window) {
        if (!active) return;
        const double m = std::exp(-window * f.rate_m), s = std::exp(-window * f.rate_s);
        for (int c = 0; c < p.width; c += LANES) {
            store(p[0] + c, load(p[0] + c) * m);
            store(q[0] + c, load(q[0] + c) * s);
        }
    }

    // The neuron's own spike, reset included.
    void spike(int j, double current, double sensitivity, double gm, double gs) {
        active = active || sensitivity != 0;
        if (!active) return;
        const double after = p[0][j] * gm, li = q[0][j] * gs + f.scale * after;
        const double by_time = sensitivity - after * current * f.rate_m;
        const double before = -by_time / ((current - threshold) * f.rate_m);
        p[0][j] = before / gm;
        q[0][j] = (li - f.scale * before) / gs;
    }

    // The loss reads v, x after the start of the window.
    void pull(int j, double error, double x) {
        p[0][j] += error * std::exp(-x * f.rate_m);
        q[0][j] -= error * f.scale * std::exp(-x * f.rate_s);
        active = true;
    }

    // An arrival: adds to the gradient of its weights, returns the derivative by its time.
    template <int B> double arrival(const double* w, double* gradient, double gm, double gs) {
        const double tp = gm * (f.scale * f.rate_s - f.rate_m), tq = gs * f.rate_s, wp = gm * f.scale;
        V by_time = all(0);
        for (int c = 0; c < (B ? B * LANES : p.width); c += LANES) {
            const V pc = load(p[0] + c), qc = load(q[0] + c);
            by_time += load(w + c) * (pc * tp + qc * tq);
            store(gradient + c, load(gradient + c) + (pc * wp + qc * gs));
        }
        return sum(by_time);
    }

    // Arrivals of one instant, whose own times nobody asks for.
    void arrivals(const int* from, const int* to, Rows& gradient, double gm, double gs) {
        const double wp = gm * f.scale;
        for (; to - from >= 2; from += 2) { // two rows share what is computed for them
            double *a = gradient[from[0]], *b = gradient[from[1]];
            for (int c = 0; c < p.width; c += LANES) {
                const V x = load(p[0] + c) * wp + load(q[0] + c) * gs;
                store(a + c, load(a + c) + x);
                store(b + c, load(b + c) + x);
            }
        }
        if (from == to) return;
        double* a = gradient[*from];
        for (int c = 0; c < p.width; c += LANES)
            store(a + c, load(a + c) + (load(p[0] + c) * wp + load(q[0] + c) * gs));
    }

    bool active = false; // whether anything is not 0

private:
    const Flow f;
    const double threshold;
    Rows p, q;
};
