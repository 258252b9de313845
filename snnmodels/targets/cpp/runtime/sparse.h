// Components of large sparse networks, and of delays of single synapses: windows of look-ahead, in which arrivals are
// scattered over their targets and only the few neurons that may spike are followed (see scatter.h). The same spikes and
// gradients as those of the general way, to rounding.
#pragma once
#include <cstring>
#include <queue>
#include "scatter.h"
#include "simulator.h"

namespace snn {

class Sparse : public ComponentSimulator
{
public:
    Sparse(const Network& net, std::vector<std::unique_ptr<Neurons>>& neurons) : net(net), neurons(neurons)
    {
        for (auto& p : neurons) scatters.emplace_back(p->scatter());
    }

    void refresh() override { for (auto& s : scatters) if (s) s->refresh(); }

    // The rule of choice. All models of the component have to be of the kind, see Rules.scatters; then it pays where every
    // arrival is one of a single synapse, or where rows leave out half of the neurons, which the general way moves all.
    bool suits(const Component& c) const override
    {
        if (net.scattering == 0) return false;
        int size = 0;
        for (int k : c.populations)
        {
            if (!scatters[k] || (neurons[k]->refractory() && !(neurons[k]->duration(0) > 0))) return false;
            size += neurons[k]->n;
        }
        if (net.scattering == 1) return true;
        double entries = 0, rows = 0;
        for (int q : c.incoming)
        {
            const Projection& p = net.projections[q];
            if (p.delayed) return true;
            entries += double(p.entries()), rows += p.rows;
        }
        return size >= 128 && entries * 2 <= rows * size;
    }

    void forward(Trial& trial, const Component& c, ComponentTape& tape) override
    {
        tape.clear();
        prepare(trial, c);
        waiting = {};
        for (int k : c.populations)
        {
            neurons[k]->begin();
            trial.trains[net.inputs + k].clear();
            neurons[k]->above(above);
            if (!above.empty()) throw Failure{"start", k, above[0], 0};
            scatters[k]->begin();
        }
        for (Stream& s : streams) if (!s.known) s.ahead();
        double t0 = 0, t1, last = 0, planned = calendar ? span : net.window;
        for (number = 0; t0 < net.duration; number++, t0 = t1)
        {
            t1 = std::min(calendar ? (number + 1) * span : t0 + std::max(planned, std::min(shortest, net.window)), net.duration);
            double arrived = rows(t0, t1);
            known(trial, t0, t1);
            for (int k : c.populations) scatters[k]->start(t0, last, t1 - t0, buckets[k]);
            run(trial, c, tape, t0, t1, arrived);
            for (int k : c.populations) scatters[k]->finish(t1);
            for (Incoming& in : incoming)
            {
                const Projection& p = net.projections[in.projection];
                if (in.known) while (in.next > 0 && trial.trains[p.source].t[in.next - 1] + *p.delay >= t1) in.next--;
                if (p.delayed) rings[in.projection][number & mask].n = 0;
            }
            last = t1 - t0;
            // A window that was cut short is long enough; else as long as would have brought the most, or twice as long.
            // Without a plan, a burst makes everything hot.
            if (arrived >= most) planned = last;
            else planned = std::min(net.window, last * std::min(2.0, 0.7 * most / std::max(arrived, 1.0)));
            planned = std::max(planned, 1e-3 * net.window);
        }
        int neuron;
        for (int k : c.populations) if (!scatters[k]->finite(neuron)) throw Failure{"finite", k, neuron, net.duration};
    }

    bool long_(const Component& c) const override
    {
        return std::any_of(c.incoming.begin(), c.incoming.end(), [&](int q) { return net.projections[q].delayed; });
    }

    long meetings(const Trial& trial, const Component& c) override
    {
        prepare(trial, c);
        if (!calendar) return common(c);
        long found = 0;
        for (int k : c.populations) found += own(trial, k);
        return found;
    }

    void backward(Trial& trial, const Component& c, const ComponentTape& tape, std::vector<Sums>& weight_sums, std::vector<Sums>& delay_sums) override
    {
        prepare(trial, c);
        weights = &weight_sums, delays = &delay_sums;
        if (calendar) backward_by_spikes(trial, c, tape);
        else backward_in_order(trial, c, tape);
        for (int k : c.populations) if (neurons[k]->G) scatters[k]->from_start();
        for (const Incoming& in : incoming) by_parameters(trial, in);
    }

private:
    // Instants at which several spikes arrive at a population, where synapses have delays of their own: every arrival is looked up
    // in a table by its time. A spike is told by where it is among those of all sources.
    long own(const Trial& trial, int population)
    {
        std::int64_t arrivals = 0;
        for (const Incoming& in : incoming)
        {
            const Projection& p = net.projections[in.projection];
            if (p.target == population) for (int j : trial.trains[p.source].neuron) arrivals += p.delayed ? p.row(j).n : 1;
        }
        int bits = 4;
        while ((std::int64_t(1) << bits) < 2 * arrivals) bits++;
        table.assign(std::size_t(1) << bits, {-1.0, 0});
        long found = 0;
        for (const Incoming& in : incoming)
        {
            const Projection& p = net.projections[in.projection];
            if (p.target != population) continue;
            std::int64_t spike = 1;
            for (int source = 0; source < p.source; source++) spike += trial.trains[source].size();
            const Train& train = trial.trains[p.source];
            for (int k = 0; k < train.size(); k++, spike++)
            {
                const int j = train.neuron[k];
                if (!p.delayed) { if (p.row(j).n) found += note(train.t[k] + *p.delay, spike, bits); continue; }
                double last = -1;
                for (std::int64_t q = p.first[j]; q < p.first[j + 1]; q++)
                    if (p.delay[q] != last) last = p.delay[q], found += note(train.t[k] + last, spike, bits);
            }
        }
        return found;
    }
    struct Noted { double t; std::int64_t spike; };  // spike: 0 once several have come at that time
    std::vector<Noted> table;
    // whether an arrival is the second spike at its time
    bool note(double t, std::int64_t spike, int bits)
    {
        if (!(t <= net.duration)) return false;
        std::uint64_t key;
        std::memcpy(&key, &t, sizeof key);
        const std::size_t last = table.size() - 1;
        std::size_t at = key * 0x9E3779B97F4A7C15u >> (64 - bits);
        while (table[at].t >= 0 && table[at].t != t) at = (at + 1) & last;
        Noted& here = table[at];
        if (here.t < 0) { here = {t, spike}; return false; }
        if (here.spike == 0 || here.spike == spike) return false;
        here.spike = 0;
        return true;
    }

    // The same where every projection has one delay
    long common(const Component& c)
    {
        for (Stream& s : streams) s.next = 0, s.ahead();
        long found = 0;
        while (true)
        {
            double t = INF;
            for (const Stream& s : streams) t = std::min(t, s.t);
            if (!(t <= net.duration)) return found;
            together.clear();
            for (Stream& s : streams) for (; s.t == t; s.next++, s.ahead()) together.push_back({&s, s.next});
            if (together.size() == 1) continue;
            for (int k : c.populations)
            {
                const std::pair<const Stream*, int>* first = nullptr;
                bool several = false;
                for (const auto& x : together)
                {
                    if (!reaches(*x.first, x.second, k)) continue;
                    if (!first) first = &x;
                    several = several || x.first->train != first->first->train || x.second != first->second;
                }
                found += several;
            }
        }
    }

    struct Incoming
    {
        int projection, next;
        bool inside, known;  // comes from this component; is a dense row of which all arrivals are known
    };
    // Projections of one source with one delay, whose rows arrive together
    struct Stream
    {
        const Train* train;
        double delay, t;  // t: of the next arrival
        int next;
        bool known;
        std::vector<Incoming> rows;
        bool ahead() { t = next < train->size() ? train->t[next] + delay : INF; return t < INF; }
        bool behind() { t = next >= 0 ? train->t[next] + delay : -INF; return t > -INF; }
    };
    std::vector<std::pair<const Stream*, int>> together;
    bool reaches(const Stream& s, int spike, int population) const
    {
        for (const Incoming& in : s.rows)
        {
            const Projection& p = net.projections[in.projection];
            if (p.target == population && p.row(s.train->neuron[spike]).n) return true;
        }
        return false;
    }
    struct Flight  // the arrival of a single synapse in the window that its spike is in
    {
        double t;
        int projection, spike;
        std::int64_t entry;
        bool operator>(const Flight& o) const { return t != o.t ? t > o.t : projection != o.projection ? projection > o.projection : entry > o.entry; }
    };

    void prepare(const Trial& trial, const Component& c)
    {
        incoming.clear(), streams.clear(), outgoing.assign(neurons.size(), {}), buckets.assign(neurons.size(), {}), flights = {};
        calendar = false, shortest = soonest = INF, longest = 0;
        double first = INF;  // shortest delay of a single synapse
        int size = 0;
        for (int k : c.populations)
        {
            size += neurons[k]->n;
            if (neurons[k]->refractory()) soonest = std::min(soonest, neurons[k]->duration(0));
        }
        for (int q : c.incoming)
        {
            const Projection& p = net.projections[q];
            const bool inside = std::find(c.populations.begin(), c.populations.end(), p.source - net.inputs) != c.populations.end();
            double least = INF, most_ = 0;
            if (!p.delayed) least = most_ = *p.delay;
            else
            {
                calendar = true;
                for (int i = 0; i < p.rows; i++)
                    if (p.first[i] < p.first[i + 1]) least = std::min(least, p.delay[p.first[i]]), most_ = std::max(most_, p.delay[p.first[i + 1] - 1]);
                if (inside) first = std::min(first, least);
            }
            if (inside) shortest = std::min(shortest, least);
            longest = std::max(longest, most_);
            incoming.push_back({q, 0, inside, !inside && !p.sparse});
            if (inside) outgoing[p.source - net.inputs].push_back(incoming.back());
            if (p.delayed) continue;
            const Incoming& in = incoming.back();
            const Train* train = &trial.trains[p.source];
            auto same = std::find_if(streams.begin(), streams.end(), [&](const Stream& s) { return s.train == train && s.delay == *p.delay && s.known == in.known; });
            if (same == streams.end()) same = streams.insert(same, {train, *p.delay, INF, 0, in.known, {}});
            same->rows.push_back(in);
        }
        // Windows up to the shortest delay have no arrivals that are not known before, but very short ones cost more
        span = std::min(net.window, std::max(std::max(first, 0.05 * net.window), longest / 64));
        int ring = 1;
        while (ring < longest / span + 3) ring *= 2;
        mask = ring - 1;
        rings.resize(net.projections.size());
        for (Incoming& in : incoming)
            if (net.projections[in.projection].delayed)
            {
                rings[in.projection].resize(ring);
                for (Bucket& b : rings[in.projection]) b.n = 0;
            }
        most = size;
    }

    // Rows before t1 whose spikes are known at t0; so many that they fill a window end it before the next one
    double rows(double t0, double& t1)
    {
        double arrived = 0;
        latest = t0;
        while (true)
        {
            Stream* first = nullptr;
            for (Stream& s : streams) if (!s.known && (!first || s.t < first->t)) first = &s;
            if (!first || !(first->t < t1)) return arrived;
            if (!calendar && arrived >= 1.5 * most && first->t > latest) { t1 = first->t; return arrived; }
            latest = std::max(t0, first->t);
            for (const Incoming& in : first->rows)
            {
                const Projection& p = net.projections[in.projection];
                const Row r = p.row(first->train->neuron[first->next]);
                if (!r.n) continue;
                scatters[p.target]->know(p.receptor, latest, r);
                arrived += r.n;
            }
            first->next++, first->ahead();
        }
    }

    // Arrivals before t1 that are known at t0: to the neurons, or into buckets
    void known(const Trial& trial, double t0, double t1)
    {
        for (auto& list : buckets) list.clear();
        for (Incoming& in : incoming)
        {
            const Projection& p = net.projections[in.projection];
            const Train& train = trial.trains[p.source];
            if (in.known)
                for (; in.next < train.size() && train.t[in.next] + *p.delay < t1; in.next++)
                    scatters[p.target]->know(p.receptor, train.t[in.next] + *p.delay, p.row(train.neuron[in.next]));
            if (!p.delayed) continue;
            if (!in.inside) for (; in.next < train.size() && train.t[in.next] < t1; in.next++) cast(in, train, in.next, INF);
            const Bucket& b = rings[in.projection][number & mask];
            if (b.n) buckets[p.target].push_back({p.receptor, &b});
        }
    }

    // Put the synapses of a spike into the buckets of their windows, but for those that arrive before `soon`
    void cast(Incoming& in, const Train& train, int spike, double soon)
    {
        const Projection& p = net.projections[in.projection];
        const int j = train.neuron[spike];
        const double t = train.t[spike];
        std::int64_t q = p.first[j];
        const std::int64_t end = p.first[j + 1];
        if (soon < INF) for (; q < end && t + p.delay[q] < soon; q++) flights.push({t + p.delay[q], in.projection, spike, q});
        while (q < end)
        {
            const int window = std::max(int((t + p.delay[q]) / span), soon < INF ? number + 1 : number);
            const double limit = (window + 1) * span - t;
            int k = 0;
            for (; q + k < end; k += LANES)
            {
                const int m = int(std::min<std::int64_t>(LANES, end - q - k));
                const unsigned outside = ~bits((load_some(p.delay + q + k, m) < limit) & lanes_below(m));
                if (outside & 255) { k += __builtin_ctz(outside); break; }
            }
            k = std::max(1, int(std::min<std::int64_t>(k, end - q)));
            Bucket& b = rings[in.projection][window & mask];
            b.room(k);
            for (int i = 0; i < k; i += LANES)
            {
                const int m = std::min(LANES, k - i);
                store8(&b.time[b.n + i], t + load_some(p.delay + q + i, m));
                store8(&b.weight[b.n + i], load_some(p.weight + q + i, m));
                store_ints(&b.target[b.n + i], load_some(p.neuron + q + i, m));
            }
            b.n += k, q += k;
        }
    }

    // The events of a window, which ends early where it has got many arrivals
    void run(Trial& trial, const Component& c, ComponentTape& tape, double t0, double& t1, double& arrived)
    {
        double now = -INF;
        while (true)
        {
            double spike = INF, row = flights.empty() ? INF : flights.top().t;
            for (const Stream& s : streams) row = std::min(row, s.t);
            // who spiked is looked at after what arrives at the same instant
            if (row != now) for (int k : c.populations) look(k);
            for (int k : c.populations) spike = std::min(spike, scatters[k]->earliest);
            spike = spike < INF ? std::min(t0 + spike, t1) : INF;
            double horizon = INF, free = waiting.empty() || !(waiting.top().t < t1) ? INF : waiting.top().t;
            for (int k : c.populations) if (scatters[k]->horizon < scatters[k]->length) horizon = std::min(horizon, t0 + scatters[k]->horizon);
            if (horizon < row && horizon < spike && horizon < free)
            {
                for (int k : c.populations) if (t0 + scatters[k]->horizon == horizon) scatters[k]->step();
                continue;
            }
            if (!(row < t1) && spike == INF && free == INF) return;
            if (spike <= row && spike <= free)
            {
                // what none of these spikes can reach
                const double alone = std::min(std::min(row, free), spike + std::min(shortest, soonest));
                now = spikes(trial, c, tape, t0, spike, std::min(alone, std::min(horizon, t1)), t1);
                continue;
            }
            if (free <= row)
            {
                release(tape, std::max(free - t0, 0.0));
                continue;
            }
            const double t = std::max(row - t0, 0.0);
            for (; !flights.empty() && flights.top().t == row; flights.pop())
            {
                const Flight& f = flights.top();
                const Projection& p = net.projections[f.projection];
                scatters[p.target]->arrive(p.receptor, {p.weight + f.entry, p.neuron + f.entry, 1}, t);
                arrived++;
            }
            for (Stream& s : streams)
                for (; s.t == row; s.next++, s.ahead())
                    for (const Incoming& in : s.rows)
                    {
                        const Projection& p = net.projections[in.projection];
                        const Row r = p.row(s.train->neuron[s.next]);
                        if (s.next + 2 < s.train->size()) prefetch(in, s.train->neuron[s.next + 2], false);
                        if (r.n) scatters[p.target]->arrive(p.receptor, r, t);
                        arrived += r.n;
                    }
            if (!calendar && arrived >= most && row > latest) { t1 = row; return; }
        }
    }

    // The next refractory neuron is no longer, at t of the window
    void release(ComponentTape& tape, double t)
    {
        const Release r = waiting.top();
        waiting.pop();
        tape.releases.push_back(r);
        tape.released_at.push_back(tape.released.size());
        tape.released.resize(tape.released.size() + neurons[r.population]->S);
        scatters[r.population]->release(r.neuron, t, &tape.released[tape.released_at.back()]);
    }

    // Spikes from the next one to `until`; the time of the last
    double spikes(Trial& trial, const Component& c, ComponentTape& tape, double t0, double first, double until, double t1)
    {
        order.clear();
        for (int k : c.populations)
            while (t0 + scatters[k]->earliest <= until || scatters[k]->earliest <= until - t0)
            {
                scatters[k]->commit(std::max(until - t0, scatters[k]->earliest));
                const auto& found = scatters[k]->found;
                if (!found.empty()) neurons[k]->refuse_runaway(trial.trains[net.inputs + k].size() + int(found.size()), found.back().neuron, t0 + found.back().t);
                if (until > first) look(k);
            }
        for (int k : c.populations)
        {
            for (auto& f : scatters[k]->found) order.push_back(f), order.back().t = std::min(t0 + f.t, until);
            scatters[k]->found.clear();
        }
        by_time(order);
        for (std::size_t o = 0; o < order.size(); o++)
        {
            const auto& f = order[o];
            Train& train = trial.trains[net.inputs + f.population];
            tape.owns.push_back({f.t, f.population, train.size()});
            if (neurons[f.population]->refractory())
            {
                const double free = f.t + neurons[f.population]->duration(0);
                scatters[f.population]->hold(f.neuron, free < net.duration ? free : INF);
                if (free < net.duration) waiting.push({free, f.population, f.neuron, train.size()});
            }
            train.t.push_back(f.t), train.neuron.push_back(f.neuron), train.cause.push_back(FLOW);
            const double* from = &scatters[f.population]->before[f.before];
            train.before.insert(train.before.end(), from, from + neurons[f.population]->S);
        }
        for (int k : c.populations) scatters[k]->before.clear();
        for (Stream& s : streams) if (!s.known && s.t == INF) s.ahead();
        const double last = order.back().t;
        if (!calendar) return last;
        for (Incoming& in : incoming)
        {
            const Projection& p = net.projections[in.projection];
            const Train& train = trial.trains[p.source];
            if (!p.delayed || !in.inside) continue;
            for (; in.next < train.size(); in.next++)
            {
                if (in.next + 3 < train.size()) prefetch(in, train.neuron[in.next + 3], false);
                cast(in, train, in.next, t1);
            }
        }
        return last;
    }

    // Arrivals, releases and spikes from the last to the first: at one instant in this order, as they came in the other one
    void backward_in_order(Trial& trial, const Component& c, const ComponentTape& tape)
    {
        span = net.window;
        for (int k : c.populations) scatters[k]->back_begin(1, span);
        for (Stream& s : streams)
            for (s.next = s.train->size() - 1; s.behind() && !(s.t < net.duration);) s.next--;
        int own = int(tape.owns.size()) - 1, end = int(tape.releases.size()) - 1, window = int(std::ceil(net.duration / span - 1e-9)) - 1;
        while (true)
        {
            double t = own >= 0 ? tape.owns[own].t : -INF;
            const bool released = end >= 0 && tape.releases[end].t >= t;
            if (released) t = tape.releases[end].t;
            Stream* latest = nullptr;
            for (Stream& s : streams) if (s.t > t || (s.t == t && !latest && t > -INF)) t = s.t, latest = &s;
            if (t == -INF) return;
            for (; window > 0 && t < window * span; window--) for (int k : c.populations) scatters[k]->age(window);
            if (!latest && released) { release_back(trial, tape, window, end--); continue; }
            if (!latest) { spike_back(trial, window, tape.owns[own--]); continue; }
            for (const Incoming& in : latest->rows)
            {
                if (latest->next > 2) prefetch(in, latest->train->neuron[latest->next - 2], true);
                row_back(trial, in, latest->next, window, t);
            }
            latest->next--, latest->behind();
        }
    }

    // Each row at its spike, wherever its arrivals are
    void backward_by_spikes(Trial& trial, const Component& c, const ComponentTape& tape)
    {
        int slots = 2;
        while (slots < longest / span + 3) slots *= 2;
        for (int k : c.populations) scatters[k]->back_begin(slots, span);
        for (Incoming& in : incoming) in.next = trial.trains[net.projections[in.projection].source].size() - 1;
        int own = int(tape.owns.size()) - 1, end = int(tape.releases.size()) - 1;
        const auto released = [&](int window, double from) { for (; end >= 0 && tape.releases[end].t >= from; end--) release_back(trial, tape, window, end); };
        for (int window = int(std::ceil(net.duration / span - 1e-9)) - 1; window >= 0; window--)
        {
            const double low = window ? window * span : -INF;
            for (; own >= 0 && tape.owns[own].t >= low; own--)
            {
                const Own& o = tape.owns[own];
                released(window, o.t);
                if (own > 2)
                {
                    const Own& soon = tape.owns[own - 2];
                    for (const Incoming& in : outgoing[soon.population]) prefetch(in, trial.trains[net.inputs + soon.population].neuron[soon.spike], true);
                }
                for (const Incoming& in : outgoing[o.population]) rows_back(trial, in, o.spike);
                spike_back(trial, window, o);
            }
            released(window, low);
            for (Incoming& in : incoming)
            {
                const Train& train = trial.trains[net.projections[in.projection].source];
                if (!in.inside) for (; in.next >= 0 && train.t[in.next] >= low; in.next--) rows_back(trial, in, in.next);
            }
            if (window) for (int k : c.populations) scatters[k]->age(window);
        }
    }

    void spike_back(const Trial& trial, int window, const Own& o)
    {
        const Train& train = trial.trains[net.inputs + o.population];
        scatters[o.population]->spike_back(window, o.t, train.neuron[o.spike], &train.before[std::size_t(o.spike) * neurons[o.population]->S], train.sens[o.spike]);
    }
    void release_back(Trial& trial, const ComponentTape& tape, int window, int which)
    {
        const Release& r = tape.releases[which];
        trial.trains[net.inputs + r.population].sens[r.spike] += scatters[r.population]->release_back(window, r.t, r.neuron, &tape.released[tape.released_at[which]]);
    }
    void row_back(Trial& trial, const Incoming& in, int spike, int window, double t)
    {
        const Projection& p = net.projections[in.projection];
        Train& train = trial.trains[p.source];
        const int j = train.neuron[spike];
        const double s = scatters[p.target]->row_back(p.receptor, p.row(j), window, t, (*weights)[in.projection].begin() + place(p, j), p.timed);
        train.sens[spike] += s;
        (*delays)[in.projection][0] += s;
    }
    void rows_back(Trial& trial, const Incoming& in, int spike)
    {
        const Projection& p = net.projections[in.projection];
        Train& train = trial.trains[p.source];
        const int j = train.neuron[spike];
        if (!p.delayed)
        {
            const double t = train.t[spike] + *p.delay;
            if (t < net.duration) row_back(trial, in, spike, int(t / span), t);
            return;
        }
        const std::size_t at = place(p, j);
        double* by_delay = p.delay_learnable ? (*delays)[in.projection].begin() + at : nullptr;
        train.sens[spike] += scatters[p.target]->rows_back(p.receptor, p.row(j), train.t[spike], p.delay + at, net.duration, (*weights)[in.projection].begin() + at, by_delay);
    }
    // what all arrivals through a projection give to the gradients by its target's parameters
    void by_parameters(const Trial& trial, const Incoming& in)
    {
        const Projection& p = net.projections[in.projection];
        if (!neurons[p.target]->G) return;
        const Train& train = trial.trains[p.source];
        scatters[p.target]->rewind();
        for (int spike = 0; spike < train.size(); spike++)
        {
            const int j = train.neuron[spike];
            const Row row = p.row(j);
            if (row.n) scatters[p.target]->row_by_parameters(p.receptor, row, train.t[spike], p.delay + (p.delayed ? place(p, j) : 0), p.delayed, net.duration);
        }
    }
    static std::size_t place(const Projection& p, int j) { return p.sparse ? std::size_t(p.first[j]) : std::size_t(j) * p.width; }

    // in line, for the compiler takes a function that does nothing else for one without effect
    SNN_INLINE void prefetch(const Incoming& in, int j, bool back)
    {
        const Projection& p = net.projections[in.projection];
        if (!p.sparse) return;
        const std::int64_t a = p.first[j], n = p.first[j + 1] - a;
        prefetch_lines(p.weight + a, n * 8), prefetch_lines(p.neuron + a, n * 4);
        if (p.delayed) prefetch_lines(p.delay + a, n * 8);
        if (back) prefetch_lines((*weights)[in.projection].begin() + a, n * 8);
        if (back && p.delayed && p.delay_learnable) prefetch_lines((*delays)[in.projection].begin() + a, n * 8);
    }
    // rows of the neurons that are about to spike
    void look(int k)
    {
        if (!scatters[k]->n_changed) return;
        scatters[k]->look();
        // where they don't come later
        if (calendar || shortest == 0) for (int j : scatters[k]->soon) for (const Incoming& in : outgoing[k]) prefetch(in, j, false);
        scatters[k]->soon.clear();
    }

    const Network& net;
    std::vector<std::unique_ptr<Neurons>>& neurons;
    std::vector<std::unique_ptr<Scatter>> scatters;
    std::vector<Incoming> incoming;
    std::vector<Stream> streams;
    std::vector<std::vector<Incoming>> outgoing;                                // of each population, within the component
    std::vector<std::vector<Bucket>> rings;                                     // of projections, by window; kept for their room
    std::vector<std::vector<std::pair<int, const Bucket*>>> buckets;            // of each population: receptor, arrivals
    std::priority_queue<Flight, std::vector<Flight>, std::greater<Flight>> flights;
    std::priority_queue<Release, std::vector<Release>, Later> waiting;          // refractory neurons
    std::vector<Scatter::Found> order;
    TimeSort<Scatter::Found> by_time;
    std::vector<Sums> *weights = nullptr, *delays = nullptr;  // sums of gradients
    std::vector<int> above;
    bool calendar = false;  // windows of equal length, for arrivals of single synapses
    double shortest = INF, longest = 0, span = 0, most = 0;
    double soonest = INF;  // shortest refractory period
    double latest = 0;  // of the rows that were known when the window began
    int number = 0, mask = 0;
};

}  // namespace snn
