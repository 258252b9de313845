// A sparse network of LIF neurons with two exponential receptors, and what all its engines have in common.
//
// Times are in ms, potentials u are from rest. Between events u = A + k_0 E_0 + k_1 E_1, of which A decays with the
// membrane's rate and E_r, the current of receptor r, with the receptor's: an arrival of weight w is E_r += w,
// A -= k_r w, so arrivals commute, and their time costs exponentials per spike, not per synapse.
#pragma once

#include "quads.h"

#include <limits>
#include <memory>

struct Modes {
    double rate_m, rate[2], k[2], peak[2]; // peak: time to the maximum of an arrival's response

    Modes(double tau_m, const double* tau) : rate_m(1 / tau_m) {
        for (int r = 0; r < 2; r++) {
            rate[r] = 1 / tau[r];
            k[r] = rate_m / (rate_m - rate[r]);
            peak[r] = std::log(rate[r] / rate_m) / (rate[r] - rate_m);
        }
    }
    // largest response to a unit arrival within a time
    double kernel(int r, double s) const {
        s = std::min(s, peak[r]);
        return k[r] * (std::exp(-s * rate[r]) - std::exp(-s * rate_m));
    }
    double top(int r) const { return kernel(r, peak[r]); }
};

struct Network {
    Network(int n, int n_inputs) : n(n), n_inputs(n_inputs), inputs(n_inputs, n), initial(n) {}

    int row_end(int j) const { return start[j + 1]; }
    void prefetch_row(int j) const {
        prefetch(weight, start[j], start[j + 1]);
        prefetch(target, start[j], start[j + 1]);
    }

    const int n, n_inputs;
    int driven = 0; // neurons from this one on have no inputs
    std::vector<int> start, target; // synapses by source; arrays of synapses have room for a vector at their end
    std::vector<double> weight, delay; // delays ascend in each row; none: the common one
    std::vector<unsigned char> receptor; // by source
    double common_delay = 0, shortest = 0, longest = 0;
    Rows inputs; // weights, onto receptor 0
    std::vector<double> initial, input_time;
    std::vector<int> input;
    double tau_m = 0, tau[2] = {0, 0}, threshold = 0, reset = 0, refractory = 0;
};

struct Spike {
    double time;
    int neuron;
    double current; // of both receptors
};
inline bool earlier(const Spike& a, const Spike& b) {
    return a.time < b.time || (a.time == b.time && a.neuron < b.neuron);
}

class Engine {
public:
    explicit Engine(const Network& net)
        : net(net), m(net.tau_m, net.tau), n(net.n), width((net.n + LANES - 1) / LANES * LANES), slot(width, -1),
          hot(width + LANES), gradient(net.target.size()), input_gradient(net.n_inputs, net.n), costates(4, net.n) {
        for (auto* x : {&hot_a, &hot_e, &hot_i}) x->room(width + LANES);
    }
    virtual ~Engine() = default;

    virtual void forward(double duration) = 0;
    virtual void backward(double duration, const double* sensitivity) { backward_common(duration, sensitivity); }

    const Network& net;
    const Modes m;
    const int n, width;
    std::vector<Spike> spikes, releases;
    std::vector<int> slot, hot; // neurons that may cross in a window, and where each is among them
    std::vector<double> gradient; // by synapses
    Rows input_gradient;

protected:
    // --- forward ---------------------------------------------------------------------------------------------------

    struct Parabola { // lies above u, and touches it at 0
        V u, slope, bend;
    };
    // Its bend is the sum of the largest second derivatives of the modes within h: b e^-rt <= b max(0, 1 - rt), b < 0.
    INLINE Parabola parabola(V a, V e, V i, V h) const {
        const V x = a * m.rate_m, y = e * (m.k[0] * m.rate[0]), z = i * (m.k[1] * m.rate[1]);
        const auto largest = [&](V b, double rate) {
            return pick(greater(b, all(0)), b, b * larger(all(0), 1 - h * rate));
        };
        const V bend = largest(x * m.rate_m, m.rate_m) + largest(y * m.rate[0], m.rate[0]);
        return {a + e * m.k[0] + i * m.k[1], -(x + y + z), bend + largest(z * m.rate[1], m.rate[1])};
    }
    // An upper bound of u within h.
    INLINE V bound(V a, V e, V i, V h) const {
        const Parabola p = parabola(a, e, i, h);
        const V end = h * (0.5 * h * p.bend + p.slope) + p.u, zero = all(0);
        const Mask inside = greater(zero, p.bend) & greater(zero, p.bend * h + p.slope) & greater(p.slope, zero);
        const V top = larger(end, p.u);
        return any(inside) ? pick(inside, p.u - 0.5 * p.slope * p.slope / p.bend, top) : top;
    }

    // First crossing within h, by steps to the root of the parabola above u, which can't pass a crossing. Lanes that
    // have one; the time, and the amplitudes there.
    Mask search(Mask lanes, V& a, V& e, V& i, V h, V& time) const {
        const V zero = all(0);
        V t = zero, span = h;
        Mask active = lanes, found = first_lanes(0);
        for (int k = 0; any(active) && k < 200; k++) {
            const Parabola p = parabola(a, e, i, span);
            const V g = smaller(p.u - net.threshold, zero), discriminant = p.slope * p.slope - 2 * p.bend * g;
            const V below = p.slope + square_root(larger(discriminant, zero));
            V s = -2 * g / below;
            const Mask root = active & at_least(discriminant, zero) & greater(below, zero) & at_least(span, s);
            s = pick(root, s, span);
            const V size = absolute(a) * (m.rate_m * m.rate_m) +
                           absolute(e) * std::abs(m.k[0] * m.rate[0] * m.rate[0]) +
                           absolute(i) * std::abs(m.k[1] * m.rate[1] * m.rate[1]);
            const Mask done = root & greater(2e-14 * (p.bend * s + p.slope), s * s * size);
            s = pick(active, s, zero);
            t = t + s;
            a = a * exponential(-s * m.rate_m);
            e = e * exponential(-s * m.rate[0]);
            i = i * exponential(-s * m.rate[1]);
            const Mask out = active & ~root & at_least(t + 1e-15, h);
            found = found | done;
            active = active & ~(done | out);
            span = larger(smaller(pick(root, 4 * s, 2 * span), h - t), zero);
            active = active & (greater(span, zero) | done);
        }
        time = smaller(t, h);
        return found;
    }

    void sort(std::vector<Spike>& x, std::size_t first, double from, double to) {
        const int k = int(x.size() - first);
        Spike* a = x.data() + first;
        if (k > 16) {
            const double scale = k / (to - from) * (1 - 1e-9);
            const auto bin = [&](double t) { return std::clamp(int((t - from) * scale), 0, k - 1); };
            place.assign(k + 2, 0);
            spare.assign(a, a + k);
            for (const Spike& y : spare) place[bin(y.time) + 1]++;
            for (int l = 0; l < k; l++) place[l + 1] += place[l];
            for (const Spike& y : spare) a[place[bin(y.time)]++] = y;
        }
        for (int l = 1; l < k; l++) {
            const Spike y = a[l];
            int to = l;
            for (; to > 0 && earlier(y, a[to - 1]); to--) a[to] = a[to - 1];
            a[to] = y;
        }
    }

    Stack<double> hot_a, hot_e, hot_i;
    int n_hot = 0;

    // --- backward --------------------------------------------------------------------------------------------------
    // Costates of u, E_0, E_1 are amplitudes at a reference time: they change only at a neuron's own events. A fourth
    // row has the sensitivity to a release that is yet to come.

    struct Growth { // exp of both signs' rates times the time after the reference
        Stack<double> m, e, i;
    };
    void grow(const std::vector<Spike>& x, int from, int to, double shift, Growth& g) const {
        const int k = to - from;
        g.m.resize(k), g.e.resize(k), g.i.resize(k);
        for (int l = 0; l < k; l++) g.m[l] = x[from + l].time + shift;
        for (int l = 0; l < k; l += LANES) {
            const V t = load(&g.m[l]);
            store(&g.m[l], exponential(t * m.rate_m));
            store(&g.e[l], exponential(t * m.rate[0]));
            store(&g.i[l], exponential(t * m.rate[1]));
        }
    }

    void own_spike(const Spike& s, double sensitivity, double gm, double ge, double gi) {
        double &a = costates[0][s.neuron], &release = costates[3][s.neuron];
        const double after = a * gm;
        double by_time = sensitivity;
        if (net.refractory > 0) by_time += release, release = 0;
        else by_time -= after * (s.current - net.reset) * m.rate_m;
        set(s.neuron, after, -by_time / ((s.current - net.threshold) * m.rate_m), gm, ge, gi);
    }
    void own_release(const Spike& s, double gm, double ge, double gi) {
        const double after = costates[0][s.neuron] * gm;
        costates[3][s.neuron] = -after * (s.current - net.reset) * m.rate_m;
        set(s.neuron, after, 0, gm, ge, gi);
    }

    // An arriving row, at one instant for all its targets: adds to the gradient, returns the derivative by the time.
    double arrive(int j, double gm, double gr) {
        const int r = net.receptor[j], end = net.row_end(j);
        const double *a = costates[0], *e = costates[1 + r];
        const double wa = -m.k[r] * gm, ta = wa * m.rate_m, te = gr * m.rate[r];
        V by_time = all(0);
        int q = net.start[j];
        for (; q + LANES <= end; q += LANES) {
            const V x = gather(a, &net.target[q]), y = gather(e, &net.target[q]);
            store(&gradient[q], load(&gradient[q]) + (x * wa + y * gr));
            by_time += load(&net.weight[q]) * (x * ta + y * te);
        }
        double rest = 0;
        for (; q < end; q++) {
            const double x = a[net.target[q]], y = e[net.target[q]];
            gradient[q] += wa * x + gr * y;
            rest += net.weight[q] * (ta * x + te * y);
        }
        return sum(by_time) + rest;
    }
    void arrive_input(int source, const double* a, const double* e, double gm, double ge) {
        double* to = input_gradient[source];
        for (int c = 0; c < net.driven; c += LANES)
            store(to + c, load(to + c) + (load(a + c) * (-m.k[0] * gm) + load(e + c) * ge));
    }

    void start_backward(const double* sensitivity) {
        input_gradient.clear();
        costates.clear();
        std::fill(gradient.begin(), gradient.end(), 0.0);
        by_time.assign(sensitivity, sensitivity + spikes.size());
    }

    // All synapses with the same delay: no windows, the events one by one. The reference moves every few ms.
    void backward_common(double duration, const double* sensitivity) {
        constexpr double span = 5, never = -1e300;
        start_backward(sensitivity);
        int own = int(spikes.size()) - 1, rel = int(releases.size()) - 1, arr = own, in = int(net.input.size()) - 1;
        while (arr >= 0 && spikes[arr].time + net.common_delay >= duration) arr--;
        while (in >= 0 && net.input_time[in] >= duration) in--;
        for (double end = duration; end > 0;) {
            const double begin = std::max(end - span, 0.0), low = begin > 0 ? begin : never;
            int own0 = own, rel0 = rel, arr0 = arr, in0 = in; // before the first of this stretch
            while (own0 >= 0 && spikes[own0].time >= low) own0--;
            while (rel0 >= 0 && releases[rel0].time >= low) rel0--;
            while (arr0 >= 0 && spikes[arr0].time + net.common_delay >= low) arr0--;
            while (in0 >= 0 && net.input_time[in0] >= low) in0--;
            grow(spikes, own0 + 1, own + 1, -end, at_own);
            grow(spikes, arr0 + 1, arr + 1, net.common_delay - end, at_arrival);
            grow(releases, rel0 + 1, rel + 1, -end, at_release);
            while (true) {
                const double t_own = own > own0 ? spikes[own].time : never;
                const double t_arr = arr > arr0 ? spikes[arr].time + net.common_delay : never;
                const double t_in = in > in0 ? net.input_time[in] : never;
                const double t_rel = rel > rel0 ? releases[rel].time : never;
                const double latest = std::max(std::max(t_own, t_arr), std::max(t_in, t_rel));
                if (latest == never) break;
                if (t_arr == latest) {
                    const int j = spikes[arr].neuron, k = arr - arr0 - 1;
                    if (arr > 2) {
                        const int next = spikes[arr - 2].neuron;
                        net.prefetch_row(next);
                        prefetch(gradient, net.start[next], net.row_end(next));
                    }
                    by_time[arr--] += arrive(j, at_arrival.m[k], net.receptor[j] ? at_arrival.i[k] : at_arrival.e[k]);
                } else if (t_in == latest) {
                    const double s = t_in - end;
                    arrive_input(net.input[in--], costates[0], costates[1], std::exp(s * m.rate_m),
                                 std::exp(s * m.rate[0]));
                } else if (t_rel == latest) {
                    const int k = rel - rel0 - 1;
                    own_release(releases[rel--], at_release.m[k], at_release.e[k], at_release.i[k]);
                } else {
                    const int k = own - own0 - 1;
                    own_spike(spikes[own], by_time[own], at_own.m[k], at_own.e[k], at_own.i[k]);
                    own--;
                }
            }
            const double back = begin - end;
            const double f[3] = {std::exp(back * m.rate_m), std::exp(back * m.rate[0]), std::exp(back * m.rate[1])};
            for (int r = 0; r < 3; r++)
                for (int c = 0; c < width; c += LANES) store(costates[r] + c, load(costates[r] + c) * f[r]);
            end = begin;
        }
    }

    Rows costates;
    std::vector<double> by_time; // dL/d(time) of each spike
    Growth at_own, at_arrival, at_release;

private:
    // The neuron's costate of u becomes `before`, those of its currents stay as they are.
    void set(int j, double after, double before, double gm, double ge, double gi) {
        costates[0][j] = before / gm;
        costates[1][j] += m.k[0] * (before - after) / ge;
        costates[2][j] += m.k[1] * (before - after) / gi;
    }

    std::vector<Spike> spare;
    std::vector<int> place;
};
