// The neurons of one population whose arrivals are additive jumps of a linear flow, for large networks of sparse rows.
//
// A window of time is looked at at once. All states are referred to its start: as if flowed back from where they are, so
// that an arrival of weight w at time t adds w y(-t) with the response y (see events/rules.py), in whatever order, and
// costs one fused record per synapse. With its state each neuron carries by how much a bound of its event function
// exceeds zero in the window, arrivals known so far included. While that is negative the neuron is cold: it can't cross,
// and nothing else is known of it. The arrival that makes it positive makes the neuron hot until the window's end: only
// hot neurons, a few in a hundred, have a time of their next crossing, which is computed again after each arrival.
//
// Arrivals known before the window begins (a dense row of an input, a sparse row of a spike on its way, the synapses of a
// bucket) are in all states from the start; a hot neuron has those that are still to come in a list instead, along which it
// is followed to the window's end. Where more arrivals are to be found in the window, that would be in vain: neurons are
// looked at up to the horizon, the next one that is known.
//
// A refractory neuron goes on as if it were free, but that it is not looked at: what is not held goes the same way in either
// case, and arrivals need not ask. At its release the held states are put back to what the reset made of them. Backward,
// their costates wait from the release to the spike, and are 0 in between, so that nothing of what they did counts.
//
// Nothing is kept of states between events. The gradient by a parameter is linear in them, and they are sums: of what each
// of a neuron's own events left, and of what each arrival added. So each gives its part, up to the neuron's next own event,
// in closed form; costates there are kept. This is done last, spike by spike.
#pragma once
#include <tuple>
#include "sweep.h"
#include "records.h"
#include "scatter.h"

namespace snn {

template <class M> class ScatterOf : public Scatter
{
    static constexpr int S = M::S, G = M::G, V = S < 4 ? 4 : 8, CELLS = 256;
    static constexpr double NEVER = 1e300, FREE = -INF;
    using Of = Records<V>;
    using One = typename Of::One;

    // An arrival at a receptor: its response, and the largest and smallest value that this gives the event function
    template <class R> struct Receptor
    {
        using Type = R;
        typename R::template Response<double> response;
        typename R::template ResponseGradient<double> by_parameters;
        double high[CELLS + 1], low[CELLS + 1];  // within the time that is left, by its length
        double rise, fall, curve_;               // largest and smallest slope
    };
    typename M::template EachReceptor<Receptor> receptors;
    template <class F> SNN_INLINE void receptor(int r, F f)
    {
        M::receptor(r, [&](auto q) { f(std::get<Receptor<decltype(q)>>(receptors)); });
    }

public:
    ScatterOf(Neurons& neurons) : p(static_cast<Population<M>&>(neurons)) {}

    void refresh() override
    {
        n = p.n, width = p.width;
        double values[M::P + 1];
        for (int k = 0; k < M::P; k++) values[k] = *p.parameters[k];
        flow.prepare(values), rate.prepare(values), event.prepare(values), reset.prepare(values), search.prepare(values);
        back.prepare(values), sigma.prepare(values), spike.prepare(values), gradient.prepare(values);
        std::apply([&](auto&... r) { (tabulate(r, values), ...); }, receptors);
        state.resize(std::size_t(V) * width);
        slot.assign(width, -1), flag.assign(width + 64, 0);
        if (M::REFRACTORY) status.resize(width), until.assign(width, FREE), kept.resize(std::size_t(S) * width), waits_.resize(std::size_t(S) * width);
        const int most = width + LANES;
        for (auto& row : hot_state) row.assign(most, 0);
        for (auto* row : {&crossing, &since}) row->assign(most, INF);
        for (auto* row : {&hot, &next, &candidate, &listed, &again}) row->assign(most, 0);
        marked.assign(most, 0), blocked.assign(most, 0);
    }

    void begin() override
    {
        for (int j = 0; j < width; j++)
        {
            double* to = state.begin() + std::size_t(V) * j;
            for (int i = 0; i < V; i++) to[i] = 0;
            for (int i = 0; i < S; i++) to[i] = p.initial[std::size_t(i) * width + j];
        }
        std::fill(slot.begin(), slot.end(), -1), std::fill(flag.begin(), flag.end(), 0);
        sums.resize(std::size_t(V) * width);
        known.clear(), undo.clear(), rows.clear(), aside.clear(), waiting.clear(), found.clear(), before.clear(), soon.clear();
        n_hot = n_changed = 0, earliest = INF;
        if (M::REFRACTORY) resting.clear(), status.fill(0), std::fill(until.begin(), until.end(), FREE);
    }

    // --- forward -------------------------------------------------------------------------------------------------------

    void know(int r, double t, const Row& row) override
    {
        if (row.target) rows.push_back({t, row, r, {}});
        else known.push_back({t, row.weight, r, {}, 0, 0});
    }

    void start(double t0, double last, double length_, const std::vector<std::pair<int, const Bucket*>>& buckets_) override
    {
        begun = t0, length = length_;
        buckets = &buckets_;
        std::stable_sort(known.begin(), known.end(), [](const Known& a, const Known& b) { return a.t < b.t; });
        for (Known& a : known)
            receptor(a.receptor, [&](auto& r) {
                const double t = a.t - begun;
                double y[2 * S];
                r.response.at(-t).run((const double*)nullptr, y);
                std::copy_n(y, S, a.y);
                bounds(r, length - t, a.high, a.low);
            });
        if (M::REFRACTORY)
        {
            int m = 0;
            for (int j : resting)
            {
                status[j] = until[j] == FREE ? 0 : until[j] < begun + length ? NEVER : -NEVER;
                if (status[j] != 0) resting[m++] = j;
            }
            resting.resize(m);
        }
        for (const auto& [r, b] : buckets_) if (b->n) pour(r, *b);
        pour_rows();
        if (buckets_.empty() && rows.empty()) pass<false>(last);
        else pass<true>(last);
        list();
        // Where arrivals are still to be found, nobody is followed further than to the next one that is known
        horizon = length;
        stepwise = buckets_.empty() && rows.empty();
        if (!stepwise || !n_hot) return;
        for (int s = 0; s < n_hot; s++) if (!blocked[s]) pass_entries(s, 0);  // at the very start
        set_horizon(0);
    }

    void arrive(int which, const Row& row, double t) override
    {
        receptor(which, [&](auto& r) {
            using R = std::decay_t<decltype(r)>;
            double y[2 * S], high, low;
            r.response.at(-t).run((const double*)nullptr, y);
            bounds(r, length - t, high, low);
            One up = Of::all(0), down = Of::all(0);
            for (int i = 0; i < S; i++) up[i] = down[i] = y[i];
            up[V - 1] = high, down[V - 1] = low;
            if (int(hits.size()) < row.n + 1) hits.resize(2 * row.n + 1);
            const int count = row.target ? add_row<false>(state.begin(), row, up, down, hits.data()) : add_row<true>(state.begin(), {row.weight, nullptr, n}, up, down, hits.data());
            for (int k = 0; k < count; k++)
            {
                const int q = hits[k], j = row.target ? row.target[q] : q, s = slot[j];
                const double w = row.weight[q];
                if (w == 0) continue;
                if (s < 0) { change(promote(j, t)); continue; }  // its state has the arrival already
                pass_entries(s, t);
                for (int i = 0; i < S; i++) if (R::Type::TOUCHES[i]) hot_state[i][s] += w * y[i];
                since[s] = t;
                change(s);
            }
        });
    }

    void look() override
    {
        if (stepwise) for (int g = 0; g < n_changed; g += LANES) look_ahead(g);
        else walk();
        n_changed = 0;
        find_earliest();
    }

    void step() override
    {
        const double t = horizon;
        set_horizon(t);
        for (int s = 0; s < n_hot; s++)
        {
            pass_entries(s, t);
            since[s] = t;
            change(s);
        }
    }

    void commit(double limit) override
    {
        int m = 0, s[LANES / 2];
        for (int k = 0; k < n_hot; k += LANES)
            for (unsigned b = bits(load8(&crossing[k]) <= limit); b; b &= b - 1)
            {
                s[m++] = k + __builtin_ctz(b);
                if (m == LANES / 2) spikes(s, m), m = 0;
            }
        if (m) spikes(s, m);
        find_earliest();
    }

    void hold(int j, double until_) override
    {
        if (status[j] == 0) resting.push_back(j);
        until[j] = until_, status[j] = -NEVER;
    }

    void release(int j, double t, double* at) override
    {
        int s = slot[j];
        if (s < 0) s = promote(j, t);
        for (; next[s] < listed[s] && entry(s, next[s])[V - 1] < t; next[s]++) add_entry(s);  // what arrives now comes after it
        double x[S], v[3];
        for (int i = 0; i < S; i++) x[i] = hot_state[i][s];
        flow.at(t).run(x, at);
        for (int i = 0; i < S; i++) if (M::HOLDS[i]) at[i] = kept[std::size_t(i) * width + j];
        search.at(0.0).run(at, v);
        if (v[0] > 0 || (v[0] == 0 && v[1] > 0)) throw NotScattered();  // it would spike at once
        flow.at(-t).run(at, x);
        for (int i = 0; i < S; i++) hot_state[i][s] = x[i];
        until[j] = FREE, blocked[s] = 0, since[s] = t, crossing[s] = INF;
        change(s);
    }

    // The window ends, maybe before it was planned to: known arrivals from then on are taken out by the next pass
    void finish(double until) override
    {
        for (int s = 0; s < n_hot; s++)
        {
            for (; next[s] < listed[s]; next[s]++) add_entry(s);
            double* to = state.begin() + std::size_t(V) * hot[s];
            for (int i = 0; i < S; i++) to[i] = hot_state[i][s];
            slot[hot[s]] = -1, flag[hot[s]] = 0;
        }
        undo.clear();
        for (const Known& a : known) if (!(a.t < until)) undo.push_back(a);
        known.clear(), rows.clear(), found.clear(), before.clear();
        n_changed = n_hot = 0;
    }

    bool finite(int& neuron) const override
    {
        for (neuron = 0; neuron < n; neuron++)
            for (int i = 0; i < S; i++)
                if (!std::isfinite(const_cast<ScatterOf*>(this)->state[std::size_t(V) * neuron + i])) return false;
        return true;
    }

    // --- backward ------------------------------------------------------------------------------------------------------
    // Costates of a window are referred to its end. Where all synapses of a row have the same delay, arrivals are taken in
    // order, and one window is enough. Else a ring of windows keeps them, so that a row is handled once, at its spike,
    // wherever its arrivals are; a neuron that spikes in a window has several there: NaN in the ring, the pieces in a list.

    void back_begin(int slots, double span_) override
    {
        mask = slots - 1, span = span_, keeps = slots > 1;
        ring.resize(std::size_t(slots) * S * width);
        current.resize(std::size_t(S) * width);
        heads.assign(std::size_t(slots) * width, -1);
        pieces.resize(slots), split.resize(slots);
        for (auto& x : pieces) x.clear();
        for (auto& x : split) x.clear();
        waits_.fill(0);
        if (G == 0) return;
        costs.clear(), ends.clear(), of.clear(), latest.assign(width, -1);
    }

    void spike_back(int window, double t, int j, const double* before_, double sens) override
    {
        const int at = window & mask;
        double *row = ring.begin() + std::size_t(at) * S * width + j, l[S], in[2 * S + 1], two[2], out[S + M::G + 1];
        for (int i = 0; i < S; i++) l[i] = row[std::size_t(i) * width];
        if (keeps) keep(at, t, j, l);
        const double s = (window + 1) * span - t;
        std::copy_n(before_, S, in);
        back.at(s).run(l, in + S);
        if (M::REFRACTORY) for (int i = 0; i < S; i++) if (M::HOLDS[i])
        {
            double& held = waits_[std::size_t(i) * width + j];
            in[S + i] = held, held = 0;
        }
        if constexpr (G > 0)
        {
            double after_[S];
            reset.at(0.0).run(before_, after_);
            from(j, after_, t);
        }
        in[2 * S] = sens;
        sigma.at(0.0).run(in, two);
        in[2 * S] = two[0] != 0 ? two[0] / two[1] : 0.0;
        spike.at(0.0).run(in, out);
        if constexpr (G > 0)
        {
            for (int k = 0; k < G; k++) p.grad[k][j] += out[S + k];
            until_here(j, t, out);
        }
        back.at(-s).run(out, l);
        for (int i = 0; i < S; i++) (keeps ? current[std::size_t(i) * width + j] : row[std::size_t(i) * width]) = l[i];
    }

    double release_back(int window, double t, int j, const double* x) override
    {
        const int at = window & mask;
        double *row = ring.begin() + std::size_t(at) * S * width + j, l[S], in[S];
        for (int i = 0; i < S; i++) l[i] = row[std::size_t(i) * width];
        if (keeps) keep(at, t, j, l);
        const double s = (window + 1) * span - t;
        back.at(s).run(l, in);
        const double sens = p.release_back(j, x, in);
        if constexpr (G > 0) from(j, x, t), p.duration_back(j, sens);
        for (int i = 0; i < S; i++) if (M::HOLDS[i]) waits_[std::size_t(i) * width + j] = in[i], in[i] = 0;
        if constexpr (G > 0) until_here(j, t, in);
        back.at(-s).run(in, l);
        for (int i = 0; i < S; i++) (keeps ? current[std::size_t(i) * width + j] : row[std::size_t(i) * width]) = l[i];
        return sens;
    }

    double row_back(int which, const Row& row, int window, double t, double* gradient, bool timed) override
    {
        double result = 0;
        receptor(which, [&](auto& r) {
            const auto as = [&](auto dense, auto split, auto by_time) {
                result = one_delay<decltype(dense)::value, decltype(split)::value, decltype(by_time)::value>(r, row, window, t, gradient);
            };
            const std::true_type yes;
            const std::false_type no;
            if (row.target) keeps ? as(no, yes, yes) : as(no, no, yes);
            else if (timed) keeps ? as(yes, yes, yes) : as(yes, no, yes);
            else keeps ? as(yes, yes, no) : as(yes, no, no);
        });
        return result;
    }

    double rows_back(int which, const Row& row, double t, const double* delay, double until, double* gradient, double* delay_gradient) override
    {
        double result = 0;
        receptor(which, [&](auto& r) { result = own_delays(r, row, t, delay, until, gradient, delay_gradient); });
        return result;
    }

    void age(int window) override
    {
        const int from = window & mask, to = (window - 1) & mask;
        if (keeps) for (int j : split[to]) heads[std::size_t(to) * width + j] = -1;
        if (keeps) split[to].clear(), pieces[to].clear();
        const double* a = ring.begin() + std::size_t(from) * S * width;
        double* b = ring.begin() + std::size_t(to) * S * width;
        const auto over = back.at(span);  // in place where there is one window
        for (int j = 0; j < width; j += LANES)
        {
            D8 in[S], out[S];
            for (int i = 0; i < S; i++) in[i] = load8(a + std::size_t(i) * width + j);
            over.run(in, out);
            for (int i = 0; i < S; i++) store8(b + std::size_t(i) * width + j, out[i]);
        }
        if (keeps) for (int j : split[from])
        {
            double in[S], out[S];
            Later piece;
            int& head = heads[std::size_t(from) * width + j];
            piece.t = -INF, piece.next = head;
            for (int i = 0; i < S; i++) piece.costate[i] = in[i] = current[std::size_t(i) * width + j];
            head = int(pieces[from].size());
            pieces[from].push_back(piece);
            over.run(in, out);
            for (int i = 0; i < S; i++) b[std::size_t(i) * width + j] = out[i];
        }
    }

    // --- gradients by parameters ---------------------------------------------------------------------------------------

    void from_start() override
    {
        if constexpr (G > 0)
        {
            const int size = int(ends.size());
            first.assign(n + 1, 0);
            for (int j : of) first[j + 1]++;
            for (int j = 0; j < n; j++) first[j + 1] += first[j] + 1;  // behind those of each neuron, one without an end
            end.assign(first[n], INF);
            for (auto& x : cost) x.assign(first[n], 0);
            cursor.assign(n, 0);
            for (int j = 0; j < n; j++) cursor[j] = first[j + 1] - 1;
            for (int e = 0; e < size; e++)  // the last ones first
            {
                const int to = --cursor[of[e]];
                end[to] = ends[e];
                for (int i = 0; i < S; i++) cost[i][to] = costs[std::size_t(e) * S + i];
            }
            for (int j = 0; j < n; j++)
            {
                if (end[first[j]] == INF) continue;
                double x[S], l[S], out[G];
                for (int i = 0; i < S; i++) x[i] = p.initial[std::size_t(i) * width + j];
                from(j, x, 0);
                for (int i = 0; i < S; i++) x[i] = cost[i][first[j]];
                back.at(end[first[j]]).run(x, l);
                typename M::template InitialBack<double> rule;
                p.prepare_one(rule, j);
                rule.at(0.0).run(l, out);
                for (int k = 0; k < G; k++) p.grad[k][j] += out[k];
            }
        }
    }

    void rewind() override { if constexpr (G > 0) std::copy_n(first.begin(), n, cursor.begin()); }

    void row_by_parameters(int which, const Row& row, double t, const double* delay, bool delayed, double until_) override
    {
        if constexpr (G > 0)
            receptor(which, [&](auto& r) {
                using R = std::decay_t<decltype(r)>;
                if constexpr (!R::Type::template ResponseGradient<double>::ZERO)
                {
                    D8 sum[G];
                    for (int k = 0; k < G; k++) sum[k] = all(0);
                    for (int q = 0; q < row.n; q += LANES)
                    {
                        const int m = std::min(LANES, row.n - q);
                        D8 s = all(0), l[S], g[G];
                        for (int i = 0; i < S; i++) l[i] = all(0);
                        bool some = false;
                        for (int lane = 0; lane < m; lane++)
                        {
                            const int j = row.target ? row.target[q + lane] : q + lane;
                            if (j >= n) break;
                            const double at = t + (delayed ? delay[q + lane] : *delay);
                            int& c = cursor[j];
                            while (end[c] <= t) c++;
                            int e = c;
                            while (end[e] <= at) e++;
                            if (end[e] == INF || !(at < until_)) continue;
                            s[lane] = end[e] - at, some = true;
                            for (int i = 0; i < S; i++) l[i][lane] = cost[i][e];
                        }
                        if (!some) continue;
                        r.by_parameters.at(s).run(l, g);
                        const D8 w = load_some(row.weight + q, m);
                        for (int k = 0; k < G; k++) sum[k] += w * g[k];
                    }
                    // of parameters that all neurons share: what they get is summed anyway
                    for (int k = 0; k < G; k++) p.grad[k][0] += total(sum[k]);
                }
            });
    }

private:
    // From an own event of a neuron at t with the states x just after it, to its next one
    void from(int j, const double* x, double t)
    {
        if constexpr (G > 0 && !M::template Gradient<double>::ZERO)
        {
            if (latest[j] < 0) return;
            double in[2 * S], out[G];
            std::copy_n(x, S, in), std::copy_n(&costs[std::size_t(latest[j]) * S], S, in + S);
            gradient.at(ends[latest[j]] - t).run(in, out);
            for (int k = 0; k < G; k++) p.grad[k][j] += out[k];
        }
    }
    // An own event at t, with the costates just before it
    void until_here(int j, double t, const double* l)
    {
        latest[j] = int(ends.size());
        ends.push_back(t), of.push_back(j), costs.insert(costs.end(), l, l + S);
    }

    struct Known  // a dense row
    {
        double t;
        const double* row;
        int receptor;
        double y[S], high, low;
    };
    struct Coming { double t; Row row; int receptor; double y[S]; };  // a sparse row
    struct Walk { int s, at; double t, end, x0[S], x[S]; };             // a hot neuron from t to the entry `at`; x: there
    struct Later { double t, costate[S]; int next; };  // costates of a neuron after a spike at t

    // --- bounds --------------------------------------------------------------------------------------------------------

    double entry_of_table(int level, int which, int i) const { return p.bounds[(std::size_t(level) * 4 + which) * S + i]; }

    template <class R> void bounds(const R& r, double left, double& high, double& low) const
    {
        const int cell = std::min(CELLS, int(left * per_cell) + 1);
        high = r.high[cell], low = r.low[cell];
    }

    // What an arrival gives the event function after a time s is k(s) = c y(s). Between two points of a fine grid it leaves
    // the chord by no more than its second derivative allows, and that is bounded by |c A^2| exp(|A| d) |y|.
    template <class R> void tabulate(R& r, const double* values)
    {
        r.response.prepare(values), r.by_parameters.prepare(values);
        const double longest = p.ladder.longest, d = longest / CELLS;
        per_cell = 1 / d;
        double c[S], a[S][S], zero[S] = {}, g0, f0[S], second[S] = {}, ca[S] = {};
        event.at(0.0).run(zero, &g0), rate.at(0.0).run(zero, f0);
        for (int j = 0; j < S; j++)
        {
            double unit[S] = {}, g, f[S];
            unit[j] = 1;
            event.at(0.0).run(unit, &g), rate.at(0.0).run(unit, f);
            c[j] = g - g0;
            for (int i = 0; i < S; i++) a[i][j] = f[i] - f0[i];
        }
        for (int j = 0; j < S; j++) for (int i = 0; i < S; i++) ca[j] += c[i] * a[i][j];
        for (int j = 0; j < S; j++) { for (int i = 0; i < S; i++) second[j] += ca[i] * a[i][j]; second[j] = std::abs(second[j]); }
        double k = 0, slope = 0;
        r.high[0] = r.low[0] = r.rise = r.fall = 0;
        for (int m = 0; m <= CELLS; m++)
        {
            double y[2 * S], term[S], grown[S], bend = 0, k1 = 0, slope1 = 0;
            r.response.at(m * d).run((const double*)nullptr, y);
            for (int i = 0; i < S; i++) k1 += c[i] * y[i], slope1 += ca[i] * y[i];
            if (m > 0)
            {
                const double curve = d * d / 8 * r.curve_, rest = d / 2 * r.curve_;
                r.high[m] = std::max(r.high[m - 1], std::max(k, k1) + curve), r.low[m] = std::min(r.low[m - 1], std::min(k, k1) - curve);
                r.rise = std::max(r.rise, std::max(slope, slope1) + rest), r.fall = std::min(r.fall, std::min(slope, slope1) - rest);
            }
            for (int i = 0; i < S; i++) term[i] = grown[i] = std::abs(y[i]);
            for (int order = 1; order < 12; order++)
            {
                double product[S] = {};
                for (int i = 0; i < S; i++) for (int j = 0; j < S; j++) product[i] += std::abs(a[i][j]) * term[j] * d / order;
                for (int i = 0; i < S; i++) term[i] = product[i], grown[i] += term[i];
            }
            for (int i = 0; i < S; i++) bend += second[i] * grown[i];
            r.curve_ = 1.01 * bend, k = k1, slope = slope1;
        }
        for (int m = 0; m <= CELLS; m++)
        {
            const double margin = 1e-9 * std::max(r.high[m], -r.low[m]);
            r.high[m] += margin, r.low[m] -= margin;
        }
    }

    // A row added to all its targets; those that are hot, or have become so, if they are asked for. Without branches
    template <bool DENSE, bool FIND = true> __attribute__((noinline)) int add_row(double* states, const Row& row, One up, One down, int* found)
    {
        const double* weight = row.weight;
        const int *target = row.target, size = row.n;
        int count = 0;
        for (int q = 0; q < size; q++)
        {
            double* to = states + std::size_t(V) * (DENSE ? q : target[q]);
            const One x = Of::load(to) + Of::times(weight[q], up, down);
            Of::store(to, x);
            if (!FIND) continue;
            found[count] = q;
            count += 1 - Of::last_is_negative(x);
        }
        return count;
    }

    void set_horizon(double after)
    {
        horizon = length;
        for (const Known& a : known) if (a.t - begun > after) { horizon = a.t - begun; return; }
    }

    void find_earliest()
    {
        D8 least = all(INF);
        for (int k = 0; k < n_hot; k += LANES) least = smaller(least, load8(&crossing[k]));
        earliest = smallest(least);
    }

    // bound of the event function within a tabulated length
    SNN_INLINE D8 top(const D8* x, int level) const
    {
        D8 d[S], g;
        rate.at(0.0).run(x, d);
        event.at(0.0).run(x, &g);
        for (int i = 0; i < S; i++) g += larger(entry_of_table(level, 0, i) * d[i], entry_of_table(level, 1, i) * d[i]);
        return g;
    }

    // Neurons from place g on of those that changed, to the horizon: no entry comes before it
    void look_ahead(int g)
    {
        const int m = std::min(LANES, n_changed - g);
        const I8 which = load_some(&again[g], m);
        for (int l = 0; l < m; l++) marked[again[g + l]] = 0, crossing[again[g + l]] = INF;
        D8 x0[S], x[S], root;
        for (int i = 0; i < S; i++) x0[i] = gather8(hot_state[i].data(), which);
        const D8 t = gather8(since.data(), which), h = larger(horizon - t, all(0));
        flow.at(t).run(x0, x);
        const int level = p.ladder.level(largest(h));
        const I8 may = lanes_below(m) & (top(x, level) > 0.0);
        if (!bits(may)) return;
        const I8 yes = p.crossing(may, nullptr, level, x, nullptr, h, root) & may;
        for (unsigned b = bits(yes); b; b &= b - 1)
        {
            const int l = __builtin_ctz(b), s = again[g + l];
            crossing[s] = std::min(t[l] + root[l], horizon), candidate[s] = next[s];
            soon.push_back(hot[s]);
        }
    }

    // Eight lanes, each with a neuron on its way from entry to entry of its list. One that may cross before the next entry is
    // put aside; eight of those are searched together, and those that don't cross go on.
    void walk()
    {
        alignas(64) double from[S][LANES], begin[LANES], until[LANES];
        int s[LANES], at[LANES], fresh = 0;
        unsigned busy = 0;
        const auto fill = [&](unsigned lanes) {
            for (; lanes; lanes &= lanes - 1)
            {
                const int l = __builtin_ctz(lanes);
                busy |= 1u << l;
                if (!waiting.empty())
                {
                    const Walk& w = waiting.back();
                    s[l] = w.s, at[l] = w.at, begin[l] = w.t;
                    for (int i = 0; i < S; i++) from[i][l] = w.x0[i];
                    waiting.pop_back();
                }
                else if (fresh < n_changed)
                {
                    const int k = again[fresh++];
                    s[l] = k, at[l] = next[k], begin[l] = since[k];
                    marked[k] = 0, crossing[k] = INF;
                    for (int i = 0; i < S; i++) from[i][l] = hot_state[i][k];
                }
                else
                {
                    busy &= ~(1u << l), begin[l] = horizon;
                    for (int i = 0; i < S; i++) from[i][l] = 0;
                }
                until[l] = busy >> l & 1 && waits(s[l], at[l]) ? entry(s[l], at[l])[V - 1] : horizon;
            }
        };
        fill(255);
        while (true)
        {
            if (int(aside.size()) >= LANES || (!busy && !aside.empty()))
            {
                search_aside();
                if (!waiting.empty()) fill(255 & ~busy);
            }
            if (!busy)
            {
                if (aside.empty()) break;
                continue;
            }
            D8 x0[S], x[S];
            for (int i = 0; i < S; i++) x0[i] = load8(from[i]);
            const D8 t = load8(begin), end = larger(load8(until), t), h = end - t;
            flow.at(t).run(x0, x);
            const unsigned may = bits(top(x, p.ladder.level(largest(h))) > 0.0) & busy;
            for (unsigned b = may; b; b &= b - 1)
            {
                const int l = __builtin_ctz(b);
                Walk w;
                w.s = s[l], w.at = at[l], w.t = t[l], w.end = end[l];
                for (int i = 0; i < S; i++) w.x0[i] = x0[i][l], w.x[i] = x[i][l];
                aside.push_back(w);
            }
            unsigned free = may;
            for (unsigned b = busy & ~may; b; b &= b - 1)
            {
                const int l = __builtin_ctz(b);
                if (!waits(s[l], at[l])) { free |= 1u << l; continue; }
                const double* e = entry(s[l], at[l]++);
                for (int i = 0; i < S; i++) from[i][l] += e[i];
                begin[l] = end[l], until[l] = waits(s[l], at[l]) ? entry(s[l], at[l])[V - 1] : horizon;
            }
            if (free) fill(free);
        }
    }

    // whether an entry comes before the horizon
    bool waits(int s, int at) { return at < listed[s] && entry(s, at)[V - 1] < horizon; }

    void search_aside()
    {
        const int m = std::min(LANES, int(aside.size())), first = int(aside.size()) - m;
        D8 x[S], h = all(0), root;
        for (int i = 0; i < S; i++) x[i] = all(0);
        for (int l = 0; l < m; l++)
        {
            const Walk& w = aside[first + l];
            h[l] = w.end - w.t;
            for (int i = 0; i < S; i++) x[i][l] = w.x[i];
        }
        const unsigned yes = bits(p.crossing(lanes_below(m), nullptr, p.ladder.level(largest(h)), x, nullptr, h, root));
        for (int l = 0; l < m; l++)
        {
            Walk& w = aside[first + l];
            if (yes >> l & 1)
            {
                crossing[w.s] = std::min(w.t + root[l], w.end), candidate[w.s] = w.at;
                soon.push_back(hot[w.s]);
            }
            else if (waits(w.s, w.at))
            {
                const double* e = entry(w.s, w.at++);
                for (int i = 0; i < S; i++) w.x0[i] += e[i];
                w.t = w.end;
                waiting.push_back(w);
            }
        }
        aside.resize(first);
    }

    // Up to four hot neurons cross: the upper half of the lanes flows back from there
    void spikes(const int* s, int m)
    {
        constexpr int UP = LANES / 2;
        D8 t = all(0), x0[S], x[S], after[S], v[3], w[3];
        for (int i = 0; i < S; i++) x0[i] = all(0);
        for (int l = 0; l < m; l++)
        {
            const int k = s[l];
            t[l] = crossing[k], t[l + UP] = -crossing[k];
            for (; next[k] < candidate[k]; next[k]++) add_entry(k);
            for (int i = 0; i < S; i++) x0[i][l] = hot_state[i][k];
        }
        const auto over = flow.at(t);
        over.run(x0, x);
        reset.at(0.0).run(x, after);
        search.at(0.0).run(x, v);
        search.at(0.0).run(after, w);
        if (M::REFRACTORY) for (int i = 0; i < S; i++) if (M::HOLDS[i])
            for (int l = 0; l < m; l++) kept[std::size_t(i) * width + hot[s[l]]] = after[i][l];
        for (int i = 0; i < S; i++) after[i] = D8{0, 0, 0, 0, after[i][0], after[i][1], after[i][2], after[i][3]};
        over.run(after, x0);
        const unsigned stays = bits((w[0] > 0.0) | ((w[0] == 0.0) & (w[1] > 0.0)));
        for (int l = 0; l < m; l++)
        {
            const int k = s[l], j = hot[k];
            p.smallest_gdot = std::min(p.smallest_gdot, v[1][l]);
            if (!M::REFRACTORY && stays >> l & 1) throw Failure{"reset", p.index, j, begun + t[l]};
            for (int i = 0; i < S; i++) hot_state[i][k] = x0[i][l + UP];
            since[k] = t[l], crossing[k] = INF, blocked[k] = M::REFRACTORY;
            change(k);
            found.push_back({t[l], p.index, j, before.size()});
            for (int i = 0; i < S; i++) before.push_back(x[i][l]);
        }
    }

    // --- the start of a window -----------------------------------------------------------------------------------------

    void pour(int which, const Bucket& b)
    {
        receptor(which, [&](auto& r) {
            double* to = sums.begin();
            for (int q = 0; q < b.n; q += LANES)
            {
                const D8 t = smaller(larger(load8(&b.time[q]) - begun, all(0)), all(length)), w = load8(&b.weight[q]);
                D8 y[2 * S], out[V];
                r.response.at(-t).run((const D8*)nullptr, y);
                for (int i = 0; i < V; i++) out[i] = i < S ? w * y[i] : all(0);
                const D8 u = w * (length - t);
                out[V - 1] = larger(u * r.rise, u * r.fall);
                alignas(64) double records[LANES * V];
                Of::records(out, records);
                const int m = std::min(LANES, b.n - q);
                for (int l = 0; l < m; l++)
                {
                    double* at = to + std::size_t(V) * b.target[q + l];
                    Of::store(at, Of::load(at) + Of::load(records + V * l));
                }
            }
        });
    }

    void pour_rows()
    {
        const int size = int(rows.size());
        for (int k = 0, m; k < size; k += m)
        {
            for (m = 1; m < LANES && k + m < size && rows[k + m].receptor == rows[k].receptor;) m++;
            receptor(rows[k].receptor, [&](auto& r) {
                D8 t = all(0), y[2 * S];
                for (int l = 0; l < m; l++) t[l] = rows[k + l].t - begun;
                r.response.at(-t).run((const D8*)nullptr, y);
                for (int l = 0; l < m; l++)
                {
                    Coming& a = rows[k + l];
                    if (k + l + 2 < size) prefetch(rows[k + l + 2].row);
                    double high, low;
                    bounds(r, length - t[l], high, low);
                    One up = Of::all(0), down = Of::all(0);
                    for (int i = 0; i < S; i++) up[i] = down[i] = a.y[i] = y[i][l];
                    up[V - 1] = high, down[V - 1] = low;
                    add_row<false, false>(sums.begin(), a.row, up, down, nullptr);
                }
            });
        }
    }
    static SNN_INLINE void prefetch(const Row& row) { prefetch_lines(row.weight, row.n * 8), prefetch_lines(row.target, row.n * 4); }

    template <bool BUCKETS> void pass(double last)
    {
        const auto over = flow.at(last);
        const auto slopes = rate.at(0.0);
        const auto value = event.at(0.0);
        const int level = p.ladder.level(length);
        double up[S], down[S];
        for (int i = 0; i < S; i++) up[i] = entry_of_table(level, 0, i), down[i] = entry_of_table(level, 1, i);
        n_hot = n_changed = 0;
        for (int j = 0; j < width; j += LANES)
        {
            double* at = state.begin() + std::size_t(V) * j;
            D8 x[V], y[V], d[S], g;
            Of::lanes(at, x);
            for (const Known& a : undo)
            {
                const D8 w = load8(a.row + j);
                for (int i = 0; i < S; i++) x[i] -= w * a.y[i];
            }
            over.run(x, y);
            slopes.run(y, d);
            value.run(y, &g);
            for (int i = 0; i < S; i++) g += larger(up[i] * d[i], down[i] * d[i]);
            D8 more[V];
            for (int i = 0; i < S; i++) more[i] = all(0);
            if (BUCKETS)
            {
                double* add = sums.begin() + std::size_t(V) * j;
                Of::lanes(add, more);
                for (int k = 0; k < V; k++) store8(add + LANES * k, all(0));
                g += more[V - 1];
            }
            for (const Known& a : known)
            {
                const D8 w = load8(a.row + j);
                for (int i = 0; i < S; i++) more[i] += w * a.y[i];
                g += larger(w * a.high, w * a.low);
            }
            if constexpr (M::REFRACTORY) g += load8(status.begin() + j);  // not at all, or surely
            const I8 there = lanes_below(n - j), yes = there & ~(g < 0.0);
            for (unsigned b = bits(yes); b; b &= b - 1)
            {
                const int l = __builtin_ctz(b), s = n_hot++;
                for (int i = 0; i < S; i++) hot_state[i][s] = y[i][l];
                hot[s] = j + l, slot[j + l] = s, flag[j + l] = 1;
                since[s] = 0, crossing[s] = INF, next[s] = listed[s] = 0;
                marked[s] = 0, blocked[s] = M::REFRACTORY && status[j + l] != 0;
                change(s);
            }
            for (int i = 0; i < S; i++) y[i] += more[i];
            for (int i = S; i < V; i++) y[i] = all(0);
            y[V - 1] = pick(yes, all(NEVER), pick(there, g, all(-NEVER)));
            Of::records(y, at);
        }
        for (int s = n_hot; s % LANES; s++) crossing[s] = INF;
        earliest = INF;
    }

    // --- lists of hot neurons ------------------------------------------------------------------------------------------

    double* entry(int s, int k) { return &lists[(std::size_t(s) * capacity + k) * V]; }
    void append(int s, const double* e)  // in order of time
    {
        if (listed[s] == capacity || lists.size() < std::size_t(n_hot) * capacity * V)
        {
            const int more = listed[s] == capacity ? 2 * capacity : capacity;
            std::vector<double> wider(std::size_t(n_hot + 16) * more * V);
            for (int k = 0; k < n_hot; k++) if (listed[k]) std::copy_n(entry(k, 0), listed[k] * V, &wider[std::size_t(k) * more * V]);
            lists.swap(wider), capacity = more;
        }
        double *to = entry(s, listed[s]++), *first = entry(s, 0);
        for (; to > first && to[-1] > e[V - 1]; to -= V) Of::store(to, Of::load(to - V));
        Of::store(to, Of::load(e));
    }
    void add_entry(int s)
    {
        const double* e = entry(s, next[s]);
        for (int i = 0; i < S; i++) hot_state[i][s] += e[i];
    }
    void pass_entries(int s, double t) { for (; next[s] < listed[s] && entry(s, next[s])[V - 1] <= t; next[s]++) add_entry(s); }
    void change(int s) { if (!marked[s] && !(M::REFRACTORY && blocked[s])) marked[s] = 1, again[n_changed++] = s; }

    void append_known(int s, double after)
    {
        for (const Known& a : known)
        {
            const double w = a.row[hot[s]], t = a.t - begun;
            if (w == 0 || !(t > after)) continue;
            double e[V] = {};
            for (int i = 0; i < S; i++) e[i] = w * a.y[i];
            e[V - 1] = t;
            append(s, e);
        }
    }

    // Which of n targets are hot. Without branches
    int find(const int* target, int n)
    {
        if (int(hits.size()) <= n) hits.resize(2 * n + 1);
        int count = 0, *to = hits.data();
        const unsigned char* hot = flag.data();
        for (int q = 0; q < n; q++) to[count] = q, count += hot[target[q]];
        return count;
    }

    void list()
    {
        if (!n_hot || (known.empty() && buckets->empty() && rows.empty())) return;
        for (int s = 0; s < n_hot; s++) append_known(s, -1);
        for (const Coming& a : rows)
        {
            const int count = find(a.row.target, a.row.n);
            double e[V] = {};
            e[V - 1] = a.t - begun;
            for (int k = 0; k < count; k++)
            {
                const int q = hits[k];
                for (int i = 0; i < S; i++) e[i] = a.row.weight[q] * a.y[i];
                append(slot[a.row.target[q]], e);
            }
        }
        for (const auto& [which, b] : *buckets)
        {
            const int count = find(b->target.data(), b->n);
            receptor(which, [&](auto& r) {
                for (int k = 0; k < count; k += LANES)
                {
                    const int m = std::min(LANES, count - k);
                    D8 t = all(0), w = all(0);
                    for (int l = 0; l < m; l++) t[l] = b->time[hits[k + l]], w[l] = b->weight[hits[k + l]];
                    t = smaller(larger(t - begun, all(0)), all(length));
                    D8 y[2 * S], out[V];
                    r.response.at(-t).run((const D8*)nullptr, y);
                    for (int i = 0; i < V; i++) out[i] = i < S ? w * y[i] : all(0);
                    out[V - 1] = t;
                    alignas(64) double records[LANES * V];
                    Of::records(out, records);
                    for (int l = 0; l < m; l++) append(slot[b->target[hits[k + l]]], records + V * l);
                }
            });
        }
    }

    // A cold neuron becomes hot at t; what is known to come goes from its state to its list
    int promote(int j, double t)
    {
        const int s = n_hot++;
        if (s % LANES == 0) for (int k = s; k < s + LANES; k++) crossing[k] = INF;
        slot[j] = s, hot[s] = j, flag[j] = 1;
        since[s] = t, crossing[s] = INF, next[s] = listed[s] = 0, marked[s] = blocked[s] = 0;
        double* from = state.begin() + std::size_t(V) * j;
        for (int i = 0; i < S; i++) hot_state[i][s] = from[i];
        from[V - 1] = NEVER;
        append_known(s, t);
        for (const Coming& a : rows)
        {
            if (!(a.t - begun > t)) continue;
            double e[V] = {};
            e[V - 1] = a.t - begun;
            for (int q = 0; q < a.row.n; q++)
            {
                if (a.row.target[q] != j) continue;
                for (int i = 0; i < S; i++) e[i] = a.row.weight[q] * a.y[i];
                append(s, e);
            }
        }
        for (const auto& [which, b] : *buckets)
            for (int q = 0; q < b->n; q++)
            {
                const double at = std::min(std::max(b->time[q] - begun, 0.0), length);
                if (b->target[q] != j || !(at > t)) continue;
                receptor(which, [&](auto& r) {
                    double y[2 * S], e[V] = {};
                    r.response.at(-at).run((const double*)nullptr, y);
                    for (int i = 0; i < S; i++) e[i] = b->weight[q] * y[i];
                    e[V - 1] = at;
                    append(s, e);
                });
            }
        for (int k = 0; k < listed[s]; k++) for (int i = 0; i < S; i++) hot_state[i][s] -= entry(s, k)[i];
        return s;
    }

    // --- backward ------------------------------------------------------------------------------------------------------

    // costates at the end of the window of a neuron with spikes of its own in it, as they are just after t
    void after(int at, int j, double t, double* l) const
    {
        for (int i = 0; i < S; i++) l[i] = current_(i, j);
        for (int k = heads[std::size_t(at) * width + j]; k >= 0 && pieces[at][k].t <= t; k = pieces[at][k].next)
            std::copy_n(pieces[at][k].costate, S, l);
    }
    double current_(int i, int j) const { return const_cast<ScatterOf*>(this)->current[std::size_t(i) * width + j]; }

    // Before a spike at t its neuron has other costates than `l`, which stay those of what comes later
    void keep(int at, double t, int j, double* l)
    {
        int& head = heads[std::size_t(at) * width + j];
        double* row = ring.begin() + std::size_t(at) * S * width + j;
        if (head < 0)
        {
            split[at].push_back(j);
            for (int i = 0; i < S; i++) current[std::size_t(i) * width + j] = row[std::size_t(i) * width], row[std::size_t(i) * width] = NAN;
        }
        Later piece;
        piece.t = t, piece.next = head;
        for (int i = 0; i < S; i++) piece.costate[i] = l[i] = current[std::size_t(i) * width + j];
        head = int(pieces[at].size());
        pieces[at].push_back(piece);
    }

    template <bool DENSE, bool SPLIT, bool TIMED, class R> double one_delay(const R& r, const Row& row, int window, double t, double* gradient)
    {
        const int at = window & mask, size = DENSE ? width : row.n;
        const double s = std::min(std::max((window + 1) * span - t, 0.0), span), *base = ring.begin() + std::size_t(at) * S * width;
        double y[2 * S], rest = 0;
        r.response.at(s).run((const double*)nullptr, y);
        D8 sum = all(0);
        const auto some = [&](int q, int m, auto whole) __attribute__((always_inline)) {
            constexpr bool WHOLE = decltype(whole)::value;
            const D8 w = !TIMED ? all(0) : WHOLE ? load8(row.weight + q) : load_some(row.weight + q, m);
            I8 target;
            if (!DENSE) target = load_some(row.target + q, WHOLE ? LANES : m);
            D8 g = all(0), z = all(0);
            for (int i = 0; i < S; i++)
                if (R::Type::TOUCHES[i])
                {
                    const double* from = base + std::size_t(i) * width;
                    const D8 l = DENSE ? load8(from + q) : gather8(from, target);
                    g += l * y[i];
                    if (TIMED) z += l * y[S + i];
                }
            if constexpr (SPLIT)
            {
                const I8 single = g == g;
                if (unsigned b = ~bits(single) & ((1u << m) - 1); __builtin_expect(b != 0, 0))
                    for (; b; b &= b - 1)
                    {
                        const int l = __builtin_ctz(b);
                        double costate[S], gw = 0, by_time = 0;
                        after(at, DENSE ? q + l : int(target[l]), t, costate);
                        for (int i = 0; i < S; i++) gw += costate[i] * y[i], by_time += costate[i] * y[S + i];
                        g[l] = gw, rest += w[l] * by_time;
                    }
                z = pick(single, z, all(0));
            }
            if (TIMED) sum += w * z;
            if (WHOLE) store8(gradient + q, load8(gradient + q) + g);
            else store_some(gradient + q, load_some(gradient + q, m) + g, m);
        };
        int q = 0;
        for (; q + LANES <= size; q += LANES) some(q, LANES, std::true_type());
        if (q < size) some(q, size - q, std::false_type());
        return total(sum) + rest;
    }

    // `delay_gradient`: null if it isn't wanted
    template <class R> double own_delays(const R& r, const Row& row, double t, const double* delay, double until, double* gradient, double* delay_gradient)
    {
        D8 sum = all(0);
        const double per_span = 1 / span;
        const std::int64_t stride = std::int64_t(S) * width;
        for (int q = 0; q < row.n; q += LANES)
        {
            const int m = std::min(LANES, row.n - q);
            D8 time = t + load_some(delay + q, m), w = load_some(row.weight + q, m), g = all(0), z = all(0), y[2 * S];
            const I8 lanes = (time < until) & lanes_below(m);
            if (!bits(lanes)) break;  // delays ascend in a row
            time = pick(lanes, time, all(t));
            const I8 number = __builtin_convertvector(time * per_span, I8), window = number & std::int64_t(mask);
            const I8 target = load_some(row.target + q, m), place = window * stride + target;
            const D8 s = smaller(larger((__builtin_convertvector(number, D8) + 1.0) * span - time, all(0)), all(span));
            r.response.at(s).run((const D8*)nullptr, y);
            for (int i = 0; i < S; i++)
                if (R::Type::TOUCHES[i])
                {
                    const D8 l = gather8(ring.begin() + std::size_t(i) * width, place);
                    g += l * y[i], z += l * y[S + i];
                }
            const I8 single = lanes & (g == g);
            D8 by_time = pick(single, w * z, all(0));
            g = pick(single, g, all(0));
            for (unsigned b = bits(lanes & ~single); b; b &= b - 1)
            {
                const int l = __builtin_ctz(b);
                double costate[S];
                after(int(window[l]), int(target[l]), time[l], costate);
                for (int i = 0; i < S; i++) g[l] += costate[i] * y[i][l], by_time[l] += w[l] * costate[i] * y[S + i][l];
            }
            sum += by_time;
            store_some(gradient + q, load_some(gradient + q, m) + g, m);
            if (delay_gradient) store_some(delay_gradient + q, load_some(delay_gradient + q, m) + by_time, m);
        }
        return total(sum);
    }

    Population<M>& p;
    int n = 0, width = 0, n_hot = 0, capacity = 16, mask = 0;
    bool stepwise = false;  // whether neurons are followed from one known arrival to the next
    bool keeps = false;  // costates of more than one window
    double begun = 0, per_cell = 0, span = 0;
    typename M::template Flow<double> flow;
    typename M::template Rate<double> rate;
    typename M::template Event<double> event;
    typename M::template Reset<double> reset;
    typename M::template Search<double> search;
    typename M::template Back<double> back;
    typename M::template Sigma<double> sigma;
    typename M::template SpikeBack<double> spike;
    typename M::template Gradient<double> gradient;
    Aligned<double> state, sums;  // records: states at the start of the window, and the excess of the bound
    std::vector<Known> known, undo;
    std::vector<Coming> rows;
    std::vector<Walk> aside, waiting;
    const std::vector<std::pair<int, const Bucket*>>* buckets = nullptr;
    // hot neurons: states at the start of the window without what is in their lists from `next` on; time since when nothing
    // happened to them; the next crossing, and the place in the list that it was found at
    std::vector<double> hot_state[S], since, crossing, lists;
    std::vector<int> hot, next, candidate, listed, again, slot, hits;
    std::vector<unsigned char> marked, flag, blocked;  // blocked: refractory
    // neurons that are refractory: until when, or FREE; what their held states will be then; what that makes of bounds
    std::vector<int> resting;
    std::vector<double> until;
    Aligned<double> status, kept;
    // backward
    Aligned<double> ring, current;
    std::vector<int> heads;
    std::vector<std::vector<Later>> pieces;
    std::vector<std::vector<int>> split;
    Aligned<double> waits_;  // costates of held states, from the release back to the spike
    // own events, the last one first: costates just before, when, whose; and the first one so far of every neuron
    std::vector<double> costs, ends;
    std::vector<int> of, latest;
    // the same by neuron, in the order of time, where those of each begin, and where one is
    std::vector<double> end, cost[S];
    std::vector<int> first, cursor;
};

template <class M> class ScatteringPopulation : public SweptPopulation<M>
{
public:
    Scatter* scatter() override { return new ScatterOf<M>(*this); }
};

}  // namespace snn
