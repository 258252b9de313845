// One delay for all synapses, or none: the events of the whole network in the order of time.
//
// A window has nothing to do with the delay. Neurons that can't cross in it carry only by how much a bound of u exceeds
// the threshold; the arrival that makes this positive makes the neuron hot for the rest of the window. Hot neurons have
// the time of their next crossing, of which the earliest is the next event.
#pragma once

#include "engine.h"

class InOrder : public Engine {
public:
    // longest: of a window, in ms; most: arriving spikes in a window, 0 for any number
    InOrder(const Network& net, double longest, int most)
        : Engine(net), longest(longest), most(most), state(1, 4 * width) {
        crossing.room(width + LANES);
        int row = 0;
        for (int j = 0; j < net.n; j++) row = std::max(row, net.row_end(j) - net.start[j]);
        hits.resize(row + LANES);
        again.resize(row + 2 * LANES);
    }

    void forward(double duration) override {
        spikes.clear();
        undo.clear();
        double* s = state[0];
        for (int j = 0; j < width; j++) store_quad(s + 4 * j, Quad{j < n ? net.initial[j] : 0, 0, 0, -1});
        next_input = next_row = 0;
        double last = 0, planned = longest;
        for (t0 = 0; t0 < duration; t0 = t1) {
            t1 = std::min(t0 + planned, duration);
            start(last);
            const int rows = run();
            last = t1 - t0;
            // A window that was cut short is long enough; else as long as would have brought the most, or twice as
            // long. Without a plan, a burst makes everything hot.
            if (most > 0 && rows >= most) planned = last;
            else planned = std::min(longest, last * std::min(2.0, most > 0 ? 0.7 * most / std::max(rows, 1) : 2.0));
            planned = std::max(planned, 0.01);
        }
    }

private:
    static constexpr double never = 1e300;
    const double longest;
    const int most;
    Rows state; // quads of A, E_0, E_1 at the start of the window, and the excess of the bound over the threshold
    Stack<double> crossing; // of hot neurons: time of the next one in the window
    std::vector<int> hits, again;
    double t0 = 0, t1 = 0;
    std::size_t next_input = 0, next_row = 0;

    struct Input {
        double time;
        int source;
        double a, e; // what a unit weight adds to the amplitudes
    };
    std::vector<Input> inputs, undo; // of this window; those of the last one that came after it was cut short

    // Amplitudes at the start of a window that follows one of the given length, its inputs included; which are hot.
    void start(double last) {
        inputs.clear();
        for (; next_input < net.input.size() && net.input_time[next_input] < t1; next_input++) {
            const double t = net.input_time[next_input], x = t - t0;
            inputs.push_back({t, net.input[next_input], -m.k[0] * std::exp(x * m.rate_m), std::exp(x * m.rate[0])});
        }
        const double xm = std::exp(-last * m.rate_m);
        const double xe = std::exp(-last * m.rate[0]), xi = std::exp(-last * m.rate[1]);
        double* s = state[0];
        lifts.clear();
        for (const Input& x : inputs) lifts.push_back(m.kernel(0, t1 - x.time));
        n_hot = 0;
        for (int c = 0; c < width; c += LANES) {
            V a, e, i, excess;
            to_vectors(s + 4 * c, a, e, i, excess);
            if (c < net.driven)
                for (const Input& x : undo) {
                    const V w = load(net.inputs[x.source] + c);
                    a -= w * x.a, e -= w * x.e;
                }
            a = a * xm, e = e * xe, i = i * xi;
            excess = bound(a, e, i, all(t1 - t0)) - net.threshold;
            V da = all(0), de = all(0);
            if (c < net.driven)
                for (std::size_t k = 0; k < inputs.size(); k++) {
                    const V w = load(net.inputs[inputs[k].source] + c);
                    da += w * inputs[k].a, de += w * inputs[k].e, excess += larger(w, all(0)) * lifts[k];
                }
            const Mask marked = at_least(excess, all(0)) & first_lanes(n - c);
            if (any(marked)) { // as they are before the inputs
                compress(hot_a.data() + n_hot, marked, a);
                compress(hot_e.data() + n_hot, marked, e);
                compress(hot_i.data() + n_hot, marked, i);
                for (unsigned b = bits(marked); b; b &= b - 1) {
                    const int j = c + __builtin_ctz(b);
                    slot[j] = n_hot, hot[n_hot++] = j;
                }
            }
            excess = pick(marked, all(never), pick(first_lanes(n - c), excess, all(-never)));
            to_quads(a + da, e + de, i, excess, s + 4 * c);
        }
        undo.clear();
        pad(n_hot);
        for (int k = 0; k < n_hot; k += LANES) store(&crossing[k], all(never));
    }
    std::vector<double> lifts;

    void pad(int from) { // lanes without a neuron never cross
        for (int k = from; k % LANES; k++) crossing[k] = never, hot_a[k] = hot_e[k] = hot_i[k] = 0;
    }

    // Time of the next crossing from t on, within h.
    V cross(V a, V e, V i, V h, Mask lanes, double t) const {
        const Mask may = lanes & greater(bound(a, e, i, h), all(net.threshold));
        if (!any(may)) return all(never);
        V after;
        const Mask found = search(may, a, e, i, h, after);
        return pick(found, t + after, all(never));
    }
    void search_all(double t, double until) {
        const double xm = std::exp(-t * m.rate_m), xe = std::exp(-t * m.rate[0]), xi = std::exp(-t * m.rate[1]);
        for (int k = 0; k < n_hot; k += LANES)
            store(&crossing[k], cross(load(&hot_a[k]) * xm, load(&hot_e[k]) * xe, load(&hot_i[k]) * xi, all(until - t),
                                      first_lanes(n_hot - k), t));
    }

    void make_hot(int j, std::size_t next) { // inputs from `next` on have not come yet
        const int k = n_hot++;
        slot[j] = k, hot[k] = j;
        double* s = state[0] + 4 * std::size_t(j);
        double a = s[0], e = s[1];
        if (j < net.driven)
            for (std::size_t l = next; l < inputs.size(); l++) {
                const double w = net.inputs[inputs[l].source][j];
                a -= inputs[l].a * w, e -= inputs[l].e * w;
            }
        if (k % LANES == 0) pad(k + 1);
        hot_a[k] = a, hot_e[k] = e, hot_i[k] = s[2], crossing[k] = never;
        s[3] = never;
    }

    // The events of a window, which may be cut short; the number of rows that arrived.
    int run() {
        const double length = t1 - t0;
        const double end_m = std::exp(-length * m.rate_m);
        const double end_r[2] = {std::exp(-length * m.rate[0]), std::exp(-length * m.rate[1])};
        std::size_t next = 0;
        int rows = 0;
        double t = 0;
        // all look no further than to the next input
        const auto horizon = [&] { return next < inputs.size() ? std::min(inputs[next].time - t0, length) : length; };
        double until = horizon();
        search_all(0, until);
        while (true) {
            V earliest = all(never);
            for (int k = 0; k < n_hot; k += LANES) earliest = smaller(earliest, load(&crossing[k]));
            const double spike = lowest(earliest);
            const bool waiting = net.common_delay > 0 && next_row < spikes.size();
            const double arrival = waiting ? std::max(spikes[next_row].time + net.common_delay - t0, 0.0) : never;
            if (std::min(spike, arrival) >= until) {
                if (next >= inputs.size()) break;
                t = until;
                const Input& x = inputs[next++];
                const double* w = net.inputs[x.source];
                for (int k = 0; k < n_hot; k++)
                    if (hot[k] < net.driven) hot_a[k] += x.a * w[hot[k]], hot_e[k] += x.e * w[hot[k]];
                until = horizon();
                search_all(t, until);
                continue;
            }
            t = std::min(spike, arrival);
            // growth since the start of the window, and decay
            alignas(64) double g[LANES];
            store(g, exponential(t * V{m.rate_m, m.rate[0], m.rate[1], -m.rate_m, -m.rate[0], -m.rate[1], 0, 0}));
            int row = -1, changed = 0;
            if (spike <= arrival) {
                int k = 0;
                while (crossing[k] != spike) k++;
                const double e = hot_e[k] * g[4], i = hot_i[k] * g[5];
                spikes.push_back({t0 + t, hot[k], e + i});
                hot_a[k] = (net.reset - m.k[0] * e - m.k[1] * i) * g[0];
                again[changed++] = k;
                if (net.common_delay == 0) row = hot[k];
            } else row = spikes[next_row++].neuron;
            if (row >= 0) {
                rows++;
                changed = deliver(row, length - t, g, end_m, end_r, next, changed);
            }
            for (int k = 0; k < changed; k += LANES) {
                const Mask lanes = first_lanes(changed - k);
                for (int l = changed; l < k + LANES; l++) again[l] = again[k];
                const V a = gather(hot_a.data(), &again[k]) * g[3], e = gather(hot_e.data(), &again[k]) * g[4];
                const V i = gather(hot_i.data(), &again[k]) * g[5];
                scatter(crossing.data(), lanes, &again[k], cross(a, e, i, all(until - t), lanes, t));
            }
            if (most > 0 && rows >= most && t > 0) {
                t1 = t0 + t;
                break;
            }
        }
        undo.assign(inputs.begin() + std::ptrdiff_t(next), inputs.end());
        next_input -= undo.size();
        for (int k = 0; k < n_hot; k++) {
            const int j = hot[k];
            double a = hot_a[k], e = hot_e[k];
            if (j < net.driven) // as all have it, with those that are undone at the start of the next window
                for (const Input& x : undo) {
                    const double w = net.inputs[x.source][j];
                    a += x.a * w, e += x.e * w;
                }
            double* s = state[0] + 4 * std::size_t(j);
            s[0] = a, s[1] = e, s[2] = hot_i[k];
            slot[j] = -1;
        }
        return rows;
    }

    // A row arrives, `left` before the end of the window; hot targets are added to those whose crossing changed.
    int deliver(int j, double left, const double* g, double end_m, const double* end_r, std::size_t next, int changed) {
        const int r = net.receptor[j], end = net.row_end(j);
        const double da = -m.k[r] * g[0], dr = g[1 + r];
        const double lift = left > m.peak[r] ? m.top(r) : m.k[r] * (end_r[r] * dr - end_m * g[0]);
        const Quad c{da, r == 0 ? dr : 0, r == 0 ? 0 : dr, lift};
        double* s = state[0];
        const int* target = net.target.data();
        const double* weight = net.weight.data();
        int found = 0;
        for (int q = net.start[j]; q < end; q++) {
            double* p = s + 4 * std::size_t(target[q]);
            const Quad x = positive_last(weight[q]) * c + load_quad(p);
            store_quad(p, x);
            hits[found] = q;
            found += !std::signbit(x[3]);
        }
        for (int k = 0; k < found; k++) {
            const int q = hits[k], to = target[q];
            if (slot[to] < 0) make_hot(to, next); // its state has the arrival already
            else {
                hot_a[slot[to]] += da * weight[q];
                (r == 0 ? hot_e : hot_i)[slot[to]] += dr * weight[q];
            }
            again[changed++] = slot[to];
        }
        return changed;
    }
};
