// Windows no longer than the smallest delay, in which all neurons are independent of each other.
//
// Per window: all arrivals are added to accumulators that refer to the window's end; one pass over all neurons advances
// them and finds by a bound those that may cross ("hot", few); these walk through their own arrivals, eight at a time.
#pragma once

#include "engine.h"

class Windows : public Engine {
public:
    // longest: of a window, in ms; most: arriving spikes in a window, 0 for any number
    Windows(const Network& net, double longest, int most)
        : Engine(net), window(std::min(longest, net.shortest)), most(most), by_synapse(!net.delay.empty()),
          short_window(window * std::max({m.rate_m, m.rate[0], m.rate[1]}) <= 0.1), state(4, net.n),
          accumulator(1, 4 * width), flag(width) {
        hot_release.room(width + LANES);
        if (!by_synapse) return;
        int size = 1;
        while (size < net.longest / window + 3) size *= 2;
        mask = size - 1;
        buckets.resize(2 * size);
        slots.resize(size);
        for (auto& x : ring) x = std::make_unique<Rows>(size, net.n);
        heads.assign(std::size_t(size) * width, -1);
    }

    void forward(double duration) override {
        spikes.clear();
        releases.clear();
        accumulator.clear();
        for (Bucket& b : buckets) b.n = 0;
        for (int j = 0; j < width; j++)
            state[0][j] = j < n ? net.initial[j] : 0, state[1][j] = state[2][j] = 0, state[3][j] = -1e300;
        std::size_t next_spike = 0, next_input = 0;
        now = 0;
        for (double t0 = 0, t1; t0 < duration; t0 = t1, now++) {
            if (by_synapse) t1 = std::min((now + 1) * window, duration);
            else {
                t1 = std::min(t0 + window, duration);
                if (most > 0 && next_spike + most < spikes.size()) // at least a little, to get on
                    t1 = std::min(t1, std::max(spikes[next_spike + most].time + net.common_delay, t0 + 0.02));
            }
            collect(t0, t1, next_spike, next_input);
            add_arrivals(t1);
            advance(t0, t1);
            const std::size_t first = spikes.size(), first_release = releases.size();
            if (n_hot) {
                list_arrivals(t0, t1);
                walk(t0, t1 - t0);
            }
            sort(spikes, first, t0, t1);
            if (net.refractory > 0) sort(releases, first_release, t0, t1);
            if (by_synapse)
                for (int r = 0; r < 2; r++) bucket(now, r).n = 0;
        }
    }

    void backward(double duration, const double* sensitivity) override {
        if (by_synapse) backward_by_synapse(duration, sensitivity);
        else backward_common(duration, sensitivity);
    }

private:
    const double window;
    const int most;
    const bool by_synapse, short_window;
    Rows state;       // A, E_0, E_1, time of release
    Rows accumulator; // quads of A, E_0, E_1 and how far the arrivals may lift u
    Stack<double> hot_release;
    int now = 0; // number of the window

    struct Arrival { // of an input's spike, or of a neuron's at all its targets
        double time;
        int source;
        bool input;
    };
    std::vector<Arrival> arrivals;
    Stack<double> ages, decay_m, decay_r; // from the arrivals to the end of the window

    // --- arrivals --------------------------------------------------------------------------------------------------

    // Arrivals of single synapses, by window and receptor.
    struct Bucket {
        std::vector<double> time, weight;
        std::vector<int> target;
        int n = 0;
        void room(int more) {
            const std::size_t wanted = std::size_t(n) + more + LANES;
            if (time.size() >= wanted) return;
            for (auto* x : {&time, &weight}) x->resize(2 * wanted);
            target.resize(2 * wanted);
        }
    };
    std::vector<Bucket> buckets;
    int mask = 0;
    Bucket& bucket(int window, int receptor) { return buckets[2 * (window & mask) + receptor]; }

    void collect(double t0, double t1, std::size_t& next_spike, std::size_t& next_input) {
        arrivals.clear();
        const auto& at = net.input_time;
        if (by_synapse) {
            for (; next_spike < spikes.size(); next_spike++) {
                if (next_spike + 3 < spikes.size()) {
                    const int j = spikes[next_spike + 3].neuron;
                    net.prefetch_row(j);
                    prefetch(net.delay, net.start[j], net.row_end(j));
                }
                cast(spikes[next_spike]);
            }
            for (; next_input < at.size() && at[next_input] < t1; next_input++)
                arrivals.push_back({at[next_input], net.input[next_input], true});
            return;
        }
        while (true) {
            constexpr double never = 1e300;
            const double x = next_spike < spikes.size() ? spikes[next_spike].time + net.common_delay : never;
            const double y = next_input < at.size() ? at[next_input] : never;
            if (std::min(x, y) >= t1) return;
            if (x <= y) arrivals.push_back({std::max(x, t0), spikes[next_spike++].neuron, false});
            else arrivals.push_back({y, net.input[next_input++], true});
        }
    }

    // Put the arrivals of a spike into the buckets of their windows; delays ascend in a row.
    __attribute__((noinline)) void cast(const Spike& s) {
        const int end = net.row_end(s.neuron), receptor = net.receptor[s.neuron];
        int q = net.start[s.neuron];
        if (q == end) return;
        for (int k = std::max(int((s.time + net.delay[q]) / window), now); q < end; k++) {
            const V limit = all((k + 1) * window - s.time);
            int until = q;
            while (until < end) {
                const Mask in = greater(limit, load(&net.delay[until])) & first_lanes(end - until);
                until += count(in);
                if (count(in) < LANES) break;
            }
            if (until == q) continue;
            Bucket& b = bucket(k, receptor);
            b.room(until - q);
            for (int z = q; z < until; z += LANES) {
                const int to = b.n + z - q;
                store(&b.time[to], s.time + load(&net.delay[z]));
                store(&b.weight[to], load(&net.weight[z]));
                std::memcpy(&b.target[to], &net.target[z], LANES * sizeof(int));
            }
            b.n += until - q;
            q = until;
        }
    }

    // exp(-x) for 0 <= x <= 0.1
    static INLINE V short_exponential(V x) {
        const V y = -x, y2 = y * y;
        const V a = y * (1 / 6.) + .5, b = y * (1 / 120.) + 1 / 24.;
        const V c = y * (1 / 5040.) + 1 / 720., d = y * (1 / 362880.) + 1 / 40320.;
        return y2 * (y2 * (y2 * (y2 * d + c) + b) + a) + (y + 1);
    }
    template <bool SHORT> static INLINE V decay(V x) { return SHORT ? short_exponential(x) : exponential(-x); }

    template <bool SHORT> __attribute__((noinline)) void pour(const Bucket& b, int r, double t1) {
        double* to = accumulator[0];
        const V zero = all(0);
        const bool far = window > m.peak[r]; // so that the largest response may lie before the window's end
        for (int q = 0; q < b.n; q += LANES) {
            const V age = larger(t1 - load(&b.time[q]), zero), w = load(&b.weight[q]);
            const V a = -m.k[r] * w * decay<SHORT>(age * m.rate_m), e = w * decay<SHORT>(age * m.rate[r]);
            V lift = larger(m.k[r] * e + a, zero);
            if (far) lift = pick(greater(age, all(m.peak[r])), larger(w, zero) * m.top(r), lift);
            Quad x[LANES];
            to_quads(a, r == 0 ? e : zero, r == 0 ? zero : e, lift, x);
            const int here = std::min(LANES, b.n - q);
            if (__builtin_expect(here == LANES, 1))
                for (int k = 0; k < LANES; k++) {
                    double* p = to + 4 * std::size_t(b.target[q + k]);
                    store_quad(p, load_quad(p) + x[k]);
                }
            else
                for (int k = 0; k < here; k++) {
                    double* p = to + 4 * std::size_t(b.target[q + k]);
                    store_quad(p, load_quad(p) + x[k]);
                }
        }
    }

    // All but those of inputs, which come in the pass over all neurons.
    void add_arrivals(double t1) {
        const int n_arrivals = int(arrivals.size());
        double* age = ages.resize(n_arrivals);
        decay_m.resize(n_arrivals), decay_r.resize(n_arrivals);
        const auto receptor = [&](const Arrival& a) { return a.input ? 0 : int(net.receptor[a.source]); };
        for (int k = 0; k < n_arrivals; k++) age[k] = t1 - arrivals[k].time;
        for (int k = 0; k < n_arrivals; k += LANES) {
            V rate = all(0);
            for (int l = 0; l < std::min(LANES, n_arrivals - k); l++) rate[l] = m.rate[receptor(arrivals[k + l])];
            store(&decay_m[k], exponential(load(age + k) * -m.rate_m));
            store(&decay_r[k], exponential(-load(age + k) * rate));
        }
        if (by_synapse)
            for (int r = 0; r < 2; r++) {
                if (short_window) pour<true>(bucket(now, r), r, t1);
                else pour<false>(bucket(now, r), r, t1);
            }
        const int* target = net.target.data();
        const double* weight = net.weight.data();
        double* to = accumulator[0];
        for (int k = 0; k < n_arrivals; k++) {
            const Arrival& a = arrivals[k];
            if (a.input) continue;
            if (k + 2 < n_arrivals && !arrivals[k + 2].input) net.prefetch_row(arrivals[k + 2].source);
            const int r = receptor(a), end = net.row_end(a.source);
            const double er = decay_r[k], lift = m.kernel(r, age[k]);
            const Quad c{-m.k[r] * decay_m[k], r == 0 ? er : 0, r == 0 ? 0 : er, lift};
            for (int q = net.start[a.source]; q < end; q++) {
                double* p = to + 4 * std::size_t(target[q]);
                store_quad(p, positive_last(weight[q]) * c + load_quad(p));
            }
        }
    }

    // --- all neurons -----------------------------------------------------------------------------------------------

    void advance(double t0, double t1) {
        const double h = t1 - t0;
        const double xm = std::exp(-h * m.rate_m), xe = std::exp(-h * m.rate[0]), xi = std::exp(-h * m.rate[1]);
        inputs.clear();
        for (int k = 0; k < int(arrivals.size()); k++)
            if (arrivals[k].input)
                inputs.push_back({net.inputs[arrivals[k].source], -m.k[0] * decay_m[k],
                                  decay_r[k], m.kernel(0, ages[k])});
        double *A = state[0], *E = state[1], *I = state[2], *R = state[3], *sums = accumulator[0];
        const V zero = all(0);
        n_hot = 0;
        for (int c = 0; c < width; c += LANES) {
            const V a = load(A + c), e = load(E + c), i = load(I + c);
            V da, de, di, lift;
            to_vectors(sums + 4 * c, da, de, di, lift);
            for (int k = 0; k < 4; k++) store(sums + 4 * c + LANES * k, zero);
            if (c < net.driven)
                for (const InputArrival& x : inputs) {
                    const V w = load(x.w + c);
                    da += w * x.a, de += w * x.e, lift += larger(w, zero) * x.lift;
                }
            Mask marked = greater(bound(a, e, i, all(h)) + lift, all(net.threshold)) & first_lanes(n - c);
            if (net.refractory > 0) {
                const V release = load(R + c);
                const Mask free = at_least(all(t0), release), soon = at_least(all(t1), release);
                marked = (marked & free) | (~free & soon & first_lanes(n - c));
                compress(hot_release.data() + n_hot, marked, release);
            }
            if (any(marked)) {
                compress(hot_a.data() + n_hot, marked, a);
                compress(hot_e.data() + n_hot, marked, e);
                compress(hot_i.data() + n_hot, marked, i);
                count_up(hot.data() + n_hot, marked, c);
                n_hot += count(marked);
            }
            store(A + c, a * xm + da);
            store(E + c, e * xe + de);
            store(I + c, i * xi + di);
        }
    }
    struct InputArrival {
        const double* w;
        double a, e, lift;
    };
    std::vector<InputArrival> inputs;

    // --- hot neurons -----------------------------------------------------------------------------------------------

    // Each has its list of arrivals as quads of time in the window, weights onto both receptors, nothing; the last one
    // is the end of the window.
    std::vector<double> lists;
    std::vector<int> listed;
    int capacity = 32;
    std::vector<unsigned char> flag;
    std::vector<int> hits;

    double* entry(int s, int k) { return &lists[(std::size_t(s) * capacity + k) * 4]; }
    double* append(int s) {
        if (listed[s] + 2 > capacity) {
            std::vector<double> more(std::size_t(n_hot) * capacity * 8);
            for (int k = 0; k < n_hot; k++)
                std::copy_n(entry(k, 0), capacity * 4, &more[std::size_t(k) * capacity * 8]);
            lists.swap(more);
            capacity *= 2;
        }
        return entry(s, listed[s]++);
    }
    void put(int s, double t, int r, double w) { store_quad(append(s), Quad{t, r == 0 ? w : 0, r == 0 ? 0 : w, 0}); }
    void put_in_order(int s, double t, int r, double w) {
        double *to = append(s), *first = entry(s, 0);
        for (; to > first && to[-4] > t; to -= 4) store_quad(to, load_quad(to - 4));
        store_quad(to, Quad{t, r == 0 ? w : 0, r == 0 ? 0 : w, 0});
    }
    // Those of some targets that are hot, without branches.
    int find_hits(const int* target, int from, int to) {
        if (int(hits.size()) <= to - from) hits.resize(2 * (to - from) + 1);
        int found = 0;
        for (int q = from; q < to; q++) {
            hits[found] = q;
            found += flag[target[q]];
        }
        return found;
    }

    void list_arrivals(double t0, double t1) {
        if (lists.size() < std::size_t(n_hot) * capacity * 4) lists.resize(std::size_t(n_hot) * capacity * 4);
        listed.assign(n_hot + LANES, 0);
        for (int s = 0; s < n_hot; s++) slot[hot[s]] = s, flag[hot[s]] = 1;
        for (const Arrival& a : arrivals) {
            const double t = a.time - t0;
            if (a.input) {
                const double* w = net.inputs[a.source];
                for (int s = 0; s < n_hot && hot[s] < net.driven; s++) put(s, t, 0, w[hot[s]]);
                continue;
            }
            const int found = find_hits(net.target.data(), net.start[a.source], net.row_end(a.source));
            for (int k = 0; k < found; k++)
                put(slot[net.target[hits[k]]], t, net.receptor[a.source], net.weight[hits[k]]);
        }
        if (by_synapse)
            for (int r = 0; r < 2; r++) {
                const Bucket& b = bucket(now, r);
                const int found = find_hits(b.target.data(), 0, b.n);
                for (int k = 0; k < found; k++)
                    put_in_order(slot[b.target[hits[k]]], std::max(b.time[hits[k]] - t0, 0.0), r, b.weight[hits[k]]);
            }
        for (int s = 0; s < n_hot; s++) {
            put(s, t1 - t0, 0, 0);
            slot[hot[s]] = -1;
            flag[hot[s]] = 0;
        }
    }

    struct Walker { // a hot neuron: amplitudes at the time t of the window, its next arrival; h to there
        double a, e, i, t, release, h;
        const double* next;
        int s;
    };
    std::vector<Walker> parked, waiting;

    void finish(int s, double a, double e, double i) {
        const int j = hot[s];
        state[0][j] = a, state[1][j] = e, state[2][j] = i;
    }
    bool at_end(const double* next, int s) { return next == entry(s, listed[s]); }

    // Eight lanes, each with a neuron of its own. A lane that is done takes the next neuron; one that may cross before
    // its next arrival is parked, and eight parked ones are searched together.
    __attribute__((noinline)) void walk(double t0, double length) {
        static const double idle[4] = {0, 0, 0, 0};
        alignas(64) double a[LANES], e[LANES], i[LANES], t[LANES], release[LANES], span[LANES];
        const double* next[LANES];
        int s[LANES], fresh = 0;
        unsigned busy = 0;
        const auto fill = [&](unsigned lanes) {
            for (; lanes; lanes &= lanes - 1) {
                const int l = __builtin_ctz(lanes);
                busy |= 1u << l;
                if (!waiting.empty()) {
                    const Walker& w = waiting.back();
                    a[l] = w.a, e[l] = w.e, i[l] = w.i, t[l] = w.t;
                    release[l] = w.release, next[l] = w.next, s[l] = w.s;
                    waiting.pop_back();
                } else if (fresh < n_hot) {
                    a[l] = hot_a[fresh], e[l] = hot_e[fresh], i[l] = hot_i[fresh], t[l] = 0;
                    release[l] = net.refractory > 0 ? hot_release[fresh] - t0 : -1;
                    next[l] = entry(fresh, 0), s[l] = fresh++;
                } else {
                    busy &= ~(1u << l);
                    a[l] = e[l] = i[l] = t[l] = 0, release[l] = -1, next[l] = idle, s[l] = -1;
                }
            }
        };
        waiting.clear();
        parked.clear();
        fill(255);
        while (true) {
            if (parked.size() >= LANES || (!busy && !parked.empty())) {
                search_parked(t0, length);
                if (!waiting.empty()) fill(255 & ~busy);
            }
            if (!busy) {
                if (parked.empty()) return;
                continue;
            }
            V at, we, wi, nothing;
            to_vectors(next, at, we, wi, nothing);
            at = smaller(at, all(length));
            const V va = load(a), ve = load(e), vi = load(i), vt = load(t), vr = load(release);
            // a refractory neuron goes to its release, if that comes first
            const Mask held = greater(vr, vt);
            const V to = pick(held, smaller(at, vr), at), h = larger(to - vt, all(0));
            unsigned may = bits(greater(bound(va, ve, vi, h), all(net.threshold)) & ~held) & busy, free = may;
            if (may) store(span, h);
            for (; may; may &= may - 1) {
                const int l = __builtin_ctz(may);
                parked.push_back({a[l], e[l], i[l], t[l], release[l], span[l], next[l], s[l]});
            }
            V new_a = va * exponential(-h * m.rate_m);
            const V new_e = ve * exponential(-h * m.rate[0]), new_i = vi * exponential(-h * m.rate[1]);
            const Mask released = held & at_least(to, vr);
            if (bits(released) & busy) {
                new_a = pick(released, net.reset - m.k[0] * new_e - m.k[1] * new_i, new_a);
                for (unsigned b = bits(released) & busy; b; b &= b - 1) {
                    const int l = __builtin_ctz(b);
                    releases.push_back({release[l] + t0, hot[s[l]], new_e[l] + new_i[l]});
                }
            }
            const Mask reached = at_least(to, at);
            we = pick(reached, we, all(0)), wi = pick(reached, wi, all(0));
            store(t, to);
            store(e, new_e + we);
            store(i, new_i + wi);
            store(a, new_a - m.k[0] * we - m.k[1] * wi);
            for (unsigned b = bits(reached) & busy & ~free; b; b &= b - 1) {
                const int l = __builtin_ctz(b);
                next[l] += 4;
                if (!at_end(next[l], s[l])) continue;
                finish(s[l], a[l], e[l], i[l]);
                free |= 1u << l;
            }
            if (free) fill(free);
        }
    }

    void search_parked(double t0, double length) {
        const int k = std::min<int>(LANES, int(parked.size())), first = int(parked.size()) - k;
        V a = all(0), e = a, i = a, h = a, time;
        for (int l = 0; l < k; l++) {
            const Walker& w = parked[first + l];
            a[l] = w.a, e[l] = w.e, i[l] = w.i, h[l] = w.h;
        }
        const V end_a = a * exponential(-h * m.rate_m), end_e = e * exponential(-h * m.rate[0]);
        const V end_i = i * exponential(-h * m.rate[1]);
        const Mask found = search(first_lanes(k), a, e, i, h, time);
        a = pick(found, net.reset - m.k[0] * e - m.k[1] * i, end_a);
        e = pick(found, e, end_e), i = pick(found, i, end_i);
        for (int l = 0; l < k; l++) {
            Walker w = parked[first + l];
            w.a = a[l], w.e = e[l], w.i = i[l];
            if (bits(found) >> l & 1) {
                w.t += time[l];
                const int j = hot[w.s];
                spikes.push_back({t0 + w.t, j, w.e + w.i});
                if (net.refractory > 0) {
                    w.release = w.t + net.refractory;
                    state[3][j] = t0 + w.release;
                }
            } else {
                w.t = std::min(w.next[0], length);
                w.e += w.next[1];
                w.i += w.next[2];
                w.a -= m.k[0] * w.next[1] + m.k[1] * w.next[2];
                w.next += 4;
                if (at_end(w.next, w.s)) {
                    finish(w.s, w.a, w.e, w.i);
                    continue;
                }
            }
            waiting.push_back(w);
        }
        parked.resize(first);
    }

    // --- backward, a delay for each synapse --------------------------------------------------------------------------
    // A ring has the costates at the ends of the last windows, so that each row is handled once, at its spike. Neurons
    // with events of their own in a window are NaN there: they are looked up in a list of segments.

    struct Segment { // costates before an own event, of those after `time`
        double time, a, e, i;
        int next;
    };
    struct Slot {
        std::vector<Segment> segments;
        std::vector<int> neurons;
    };
    std::unique_ptr<Rows> ring[3];
    std::vector<Slot> slots;
    std::vector<int> heads;

    void backward_by_synapse(double duration, const double* sensitivity) {
        start_backward(sensitivity);
        for (auto& x : ring) x->clear();
        std::fill(heads.begin(), heads.end(), -1);
        for (Slot& x : slots) x.segments.clear(), x.neurons.clear();
        int own = int(spikes.size()) - 1, rel = int(releases.size()) - 1, in = int(net.input.size()) - 1;
        while (in >= 0 && net.input_time[in] >= duration) in--;
        for (int k = int(std::ceil(duration / window - 1e-9)) - 1; k >= 0; k--) {
            const double end = (k + 1) * window, low = k ? k * window : -1e300;
            Slot& here = slots[k & mask];
            int* head = &heads[std::size_t(k & mask) * width];
            for (int j : here.neurons) head[j] = -1;
            here.segments.clear();
            here.neurons.clear();
            double *la = (*ring[0])[k & mask], *le = (*ring[1])[k & mask], *li = (*ring[2])[k & mask];
            int own0 = own, rel0 = rel;
            while (own0 >= 0 && spikes[own0].time >= low) own0--;
            while (rel0 >= 0 && releases[rel0].time >= low) rel0--;
            for (int o = own; o > own0; o--) {
                if (o > 2) {
                    const int j = spikes[o - 2].neuron;
                    net.prefetch_row(j);
                    prefetch(gradient, net.start[j], net.row_end(j));
                    prefetch(net.delay, net.start[j], net.row_end(j));
                }
                by_time[o] += short_window ? row<true>(spikes[o], duration) : row<false>(spikes[o], duration);
            }
            grow(spikes, own0 + 1, own + 1, -end, at_own);
            grow(releases, rel0 + 1, rel + 1, -end, at_release);
            const auto keep = [&](double time, int j) { // what holds after the event
                if (head[j] < 0) {
                    here.neurons.push_back(j);
                    costates[0][j] = la[j], costates[1][j] = le[j], costates[2][j] = li[j];
                }
                here.segments.push_back({time, costates[0][j], costates[1][j], costates[2][j], head[j]});
                head[j] = int(here.segments.size()) - 1;
            };
            while (own > own0 || rel > rel0) {
                if (rel > rel0 && (own <= own0 || releases[rel].time >= spikes[own].time)) {
                    const int l = rel - rel0 - 1;
                    keep(releases[rel].time, releases[rel].neuron);
                    own_release(releases[rel--], at_release.m[l], at_release.e[l], at_release.i[l]);
                } else {
                    const int l = own - own0 - 1;
                    keep(spikes[own].time, spikes[own].neuron);
                    own_spike(spikes[own], by_time[own], at_own.m[l], at_own.e[l], at_own.i[l]);
                    own--;
                }
            }
            for (; in >= 0 && net.input_time[in] >= low; in--) arrive_split_input(in, end, here, head, la, le);
            if (k == 0) return;
            age(k, here, head, la, le, li);
        }
    }

    // An input's spike in a window: neurons with own events in it have the costates of their segment.
    void arrive_split_input(int in, double end, const Slot& here, const int* head, const double* la, const double* le) {
        const double t = net.input_time[in], gm = std::exp((t - end) * m.rate_m), ge = std::exp((t - end) * m.rate[0]);
        double* g = input_gradient[net.input[in]];
        aside.clear();
        for (int j : here.neurons) {
            double a = costates[0][j], e = costates[1][j];
            for (int h = head[j]; h >= 0 && here.segments[h].time <= t; h = here.segments[h].next)
                a = here.segments[h].a, e = here.segments[h].e;
            aside.push_back(g[j] + e * ge - m.k[0] * a * gm);
        }
        arrive_input(net.input[in], la, le, gm, ge);
        for (std::size_t k = 0; k < here.neurons.size(); k++)
            if (here.neurons[k] < net.driven) g[here.neurons[k]] = aside[k];
    }
    std::vector<double> aside;

    // Costates at the end of the window before, then the list of this one.
    void age(int k, Slot& here, int* head, double* la, double* le, double* li) {
        const double dm = std::exp(-window * m.rate_m);
        const double de = std::exp(-window * m.rate[0]), di = std::exp(-window * m.rate[1]);
        double* na = (*ring[0])[(k - 1) & mask];
        double *ne = (*ring[1])[(k - 1) & mask], *ni = (*ring[2])[(k - 1) & mask];
        for (int c = 0; c < width; c += LANES) {
            store(na + c, load(la + c) * dm);
            store(ne + c, load(le + c) * de);
            store(ni + c, load(li + c) * di);
        }
        for (int j : here.neurons) {
            const double a = costates[0][j], e = costates[1][j], i = costates[2][j];
            na[j] = a * dm, ne[j] = e * de, ni[j] = i * di;
            here.segments.push_back({-1e300, a, e, i, head[j]});
            head[j] = int(here.segments.size()) - 1;
            la[j] = std::numeric_limits<double>::quiet_NaN();
        }
    }

    template <bool SHORT> __attribute__((noinline)) double row(const Spike& s, double duration) {
        const int from = net.start[s.neuron], to = net.row_end(s.neuron), r = net.receptor[s.neuron];
        const double *ring_a = (*ring[0])[0], *ring_e = (*ring[1 + r])[0], rate = m.rate[r], k = m.k[r];
        V total = all(0);
        double rest = 0;
        for (int q = from; q < to; q += LANES) {
            const V t = s.time + load(&net.delay[q]);
            const Mask lanes = first_lanes(to - q) & greater(all(duration), t);
            const Integers number = __builtin_convertvector(t * (1 / window), Integers); // of the arrival's window
            const V end = (__builtin_convertvector(number, V) + 1) * window;
            const V before = smaller(larger(end - t, all(0)), all(window));
            Integers places;
            std::memcpy(&places, &net.target[q], sizeof places);
            places += (number & mask) * width;
            int place[LANES];
            std::memcpy(place, &places, sizeof places);
            const V gm = decay<SHORT>(before * m.rate_m), ge = decay<SHORT>(before * rate);
            const V la = gather(ring_a, place), e = gather(ring_e, place) * ge, a = la * gm * k;
            const Mask ok = lanes & at_least(la, la); // not NaN
            store(&gradient[q], load(&gradient[q]) + pick(ok, e - a, all(0)));
            total += pick(ok, load(&net.weight[q]) * (e * rate - a * m.rate_m), all(0));
            for (unsigned b = bits(lanes & ~ok); b; b &= b - 1) {
                const int l = __builtin_ctz(b);
                const Slot& there = slots[place[l] / width];
                double xa = 0, xe = 0;
                for (int h = heads[place[l]]; h >= 0 && there.segments[h].time <= t[l]; h = there.segments[h].next)
                    xa = there.segments[h].a, xe = r == 0 ? there.segments[h].e : there.segments[h].i;
                xe *= ge[l], xa *= gm[l] * k;
                gradient[q + l] += xe - xa;
                rest += net.weight[q + l] * (xe * rate - xa * m.rate_m);
            }
        }
        return sum(total) + rest;
    }
};
