// The flow of a membrane with an exponential synapse, and what happens at a spike.
//
//   v(t) = v e_m(t) + I k(t),  I(t) = I e_s(t),  e_x(t) = exp(-t/tau_x),  k = tau_s/(tau_m - tau_s) (e_m - e_s)
#pragma once

#include <cmath>
#include <vector>

struct Flow {
    double rate_m, rate_s, dt, scale, em_dt, es_dt, k_dt; // rates 1/tau

    Flow(double tau_m, double tau_s, double dt)
        : rate_m(1 / tau_m), rate_s(1 / tau_s), dt(dt), scale(tau_s / (tau_m - tau_s)), em_dt(em(dt)), es_dt(es(dt)),
          k_dt(k(em_dt, es_dt)) {}

    double em(double t) const { return std::exp(-t * rate_m); }
    double es(double t) const { return std::exp(-t * rate_s); }
    // k and its derivative, from the two exponentials
    double k(double em, double es) const { return scale * (em - es); }
    double k_rate(double em, double es) const { return scale * (es * rate_s - em * rate_m); }
};

// A spike at the time s before the end of a step: what its weight is multiplied with in the state there.
struct Arrival {
    int source, step;
    double s, es, k, k_rate;

    Arrival(const Flow& f, int source, int step, double s, double em, double es)
        : source(source), step(step), s(s), es(es), k(f.k(em, es)), k_rate(f.k_rate(em, es)) {}
};

// What else the backward pass reads of a neuron's own spike, at the time r after the start of its step.
struct Spike {
    double r, em, es, k;        // the flow up to it
    double current, slope;      // I and dv/dt there
    double sensitivity;         // derivative of the loss by its time, as far as the loss reads it itself
    bool resolved;
};

// Spikes of a population in one trial, in the order of their steps; those of step n begin at start[n].
struct Events {
    std::vector<Arrival> arrivals;
    std::vector<Spike> spikes; // none for inputs
    std::vector<int> start;

    const Arrival* begin(int n) const { return arrivals.data() + start[n]; }
    const Arrival* end(int n) const { return arrivals.data() + start[n + 1]; }
    void clear() {
        arrivals.clear();
        spikes.clear();
        start.clear();
    }
};

// Time after the start of a step at which v crosses the threshold upwards; v(low) is below, v(high) above it.
// Starts from the root of a parabola; the steps are Halley's, which take the curvature along.
inline double crossing(const Flow& f, double v_th, double v, double i, double low, double high) {
    const double rate = (i - v) * f.rate_m, curvature = -(i * f.rate_s + rate) * f.rate_m;
    const double discriminant = rate * rate - 2 * curvature * (v - v_th);
    const double tolerance = 1e-16 * (high - low);
    double r = discriminant > 0 ? 2 * (v_th - v) / (rate + std::sqrt(discriminant)) : low;
    if (!(r > low && r < high)) r = 0.5 * (low + high);
    for (int n = 0; n < 60; n++) {
        const double em = f.em(r), es = f.es(r), vr = v * em + i * f.k(em, es), ir = i * es;
        const double g = vr - v_th, g1 = (ir - vr) * f.rate_m, bend = -(ir * f.rate_s + g1) * f.rate_m / g1;
        (g > 0 ? high : low) = r;
        const double step = g / (g1 - 0.5 * g * bend);
        const double before = r;
        r -= step;
        if (r > low && r < high) {
            // a step of this length leaves an error of about its cube times this
            const double order = std::abs(bend) + f.rate_s;
            if (std::abs(step * step * step) * order * order <= tolerance) break;
        } else {
            r = 0.5 * (low + high);
            if (std::abs(r - before) <= tolerance) break;
        }
    }
    return r;
}
