// Components in general, from event to event; then the same events in reverse.
#pragma once
#include <queue>
#include "simulation.h"
#include "sources.h"

namespace snn {

// What one instant holds comes in rounds, through the whole network: first what was on its way and crossings, then, round by
// round, arrivals without delay of the spikes that the round before has caused at once.
class GeneralSimulator : public EventSimulator
{
public:
    GeneralSimulator(const Network& net, std::vector<std::unique_ptr<Neurons>> given) : EventSimulator(net, std::move(given))
    {
        for (const auto& p : EventSimulator::neurons)
        {
            neurons.push_back(dynamic_cast<GeneralNeurons*>(p.get()));
            if (!neurons.back()) throw std::runtime_error("a model of this program can only be swept");
        }
        for (const Projection& p : net.projections)
            if (p.sources >= 0) source_states.emplace_back(*neurons[net.populations + p.sources], p.source, p.target);
    }

    void refresh() override
    {
        EventSimulator::refresh();
        next.assign(net.projections.size(), 0);
    }

private:
    std::vector<GeneralNeurons*> neurons;  // those of the simulator, as the general way sees them
    std::vector<Sources> source_states;
    Aligned<double> scaled, by_weight;  // a row of weights times their amplitude, and what the loss says of it
    std::vector<int> next;  // of every projection, the spike of its source that has not arrived yet

    void start(Trial& trial) override
    {
        trial.sent.resize(source_states.size());
        for (std::size_t s = 0; s < source_states.size(); s++) source_states[s].begin(trial.sent[s]);
    }
    void start_back(Trial& trial) override
    {
        for (std::size_t s = 0; s < source_states.size(); s++) source_states[s].back_begin(trial.sent[s], parameter_sums[net.populations + s].begin());
    }

    // arrivals of single synapses, by time
    struct Flight
    {
        double t;
        int round, projection, source, spike;
        std::int64_t entry;
        bool operator>(const Flight& o) const
        {
            if (t != o.t) return t > o.t;
            if (round != o.round) return round > o.round;
            if (projection != o.projection) return projection > o.projection;
            if (source != o.source) return source > o.source;
            return spike > o.spike;
        }
    };
    std::priority_queue<Flight, std::vector<Flight>, std::greater<Flight>> flights;
    std::vector<Flight> landed;

    std::vector<int> stamp;  // of every neuron of every population: the last instant at which it spiked
    std::vector<double> start_, was;

    // a spike of a projection whose synapses differ in delay enters the queue when its first arrival may be the next
    void launch(const Trial& trial, const Component& c)
    {
        for (int q : c.incoming)
        {
            const Projection& p = net.projections[q];
            if (!p.delayed) continue;
            const Train& train = trial.trains[p.source];
            for (; next[q] < train.size(); next[q]++)
            {
                const int i = train.neuron[next[q]];
                if (p.first[i] == p.first[i + 1]) continue;
                const double delay = p.delay[p.first[i]];
                flights.push({train.t[next[q]] + delay, round_of(train, next[q], delay), q, i, next[q], p.first[i]});
            }
        }
    }

    // in which round of its instant a spike arrives
    static int round_of(const Train& train, int spike, double delay) { return delay > 0 || train.rounds.empty() ? 0 : train.round(spike); }

    double next_arrival(const Trial& trial, const Component& c)
    {
        double t = flights.empty() ? INF : flights.top().t;
        for (int q : c.incoming)
        {
            const Projection& p = net.projections[q];
            if (p.delayed || next[q] >= trial.trains[p.source].size()) continue;
            t = std::min(t, trial.trains[p.source].t[next[q]] + *p.delay);
        }
        return t;
    }

    // arrivals at t up to a round, in the order (projection, source, spike); spikes of one source are in the order of time
    int gather(Trial& trial, const Component& c, double t, int round, Plain<Arrival>& to)
    {
        const int before = int(to.size());
        landed.clear();
        while (!flights.empty() && flights.top().t <= t && flights.top().round <= round)
        {
            Flight f = flights.top();
            flights.pop();
            landed.push_back(f);
            const Projection& p = net.projections[f.projection];
            const Train& train = trial.trains[p.source];
            if (++f.entry >= p.first[f.source + 1]) continue;
            f.t = train.t[f.spike] + p.delay[f.entry], f.round = round_of(train, f.spike, p.delay[f.entry]);
            flights.push(f);
        }
        std::stable_sort(landed.begin(), landed.end(), [](const Flight& a, const Flight& b) { return a.projection < b.projection; });
        std::size_t next_landed = 0;
        for (int q : c.incoming)
        {
            const Projection& p = net.projections[q];
            const Train& train = trial.trains[p.source];
            if (p.delayed)
            {
                for (; next_landed < landed.size() && landed[next_landed].projection == q; next_landed++)
                    to.push_back({q, landed[next_landed].spike, int(landed[next_landed].entry)});
                continue;
            }
            const std::size_t first = to.size();
            while (next[q] < train.size() && train.t[next[q]] + *p.delay <= t && round_of(train, next[q], *p.delay) <= round)
                to.push_back({q, next[q]++, -1});
            train.by_source(to.begin() + first, to.end());
        }
        for (std::size_t a = before; a < to.size(); a++)
            if (const int s = net.projections[to[a].projection].sources; s >= 0) source_states[s].send(trial.trains[source_states[s].source], trial.sent[s], to[a].spike);
        return int(to.size()) - before;
    }

    // what the weights of an arrival are multiplied by
    double amplitude(const Trial& trial, const Arrival& a) const
    {
        const int s = net.projections[a.projection].sources;
        return s < 0 ? 1.0 : trial.sent[s].amplitude[a.spike];
    }
    // the row of an arrival with its weights as they arrive; holds until the next
    Row arriving_row(const Trial& trial, const Arrival& a)
    {
        const Projection& p = net.projections[a.projection];
        Row row = a.entry >= 0 ? Row{p.weight + a.entry, p.neuron + a.entry, 1} : p.row(trial.trains[p.source].neuron[a.spike]);
        if (p.sources < 0) return row;
        const double by = amplitude(trial, a);
        if (int(scaled.size()) < row.n) scaled.resize(row.n);
        for (int k = 0; k < row.n; k++) scaled[k] = by * row.weight[k];
        row.weight = scaled.begin();
        return row;
    }

    void deliver(const Trial& trial, const Arrival& a)
    {
        const Projection& p = net.projections[a.projection];
        GeneralNeurons& to = *neurons[p.target];
        // which row comes next, no processor can guess
        const Train& train = trial.trains[p.source];
        if (!p.sparse && next[a.projection] < train.size())
        {
            const double* row = p.weight + std::size_t(train.neuron[next[a.projection]]) * p.width;
            for (int k = 0; k < p.width; k += 8) __builtin_prefetch(row + k);
        }
        to.arrive(p.receptor, arriving_row(trial, a));
    }

    // weight of an arrival at one neuron; false where it does not reach it
    bool reaches(const Trial& trial, const Arrival& a, int population, int neuron, double& w) const
    {
        const Projection& p = net.projections[a.projection];
        if (p.target != population) return false;
        w = amplitude(trial, a);
        if (a.entry >= 0) { w *= p.weight[a.entry]; return p.neuron[a.entry] == neuron; }
        const Row row = p.row(trial.trains[p.source].neuron[a.spike]);
        if (!row.target) { w *= row.weight[neuron]; return true; }
        for (int k = 0; k < row.n; k++)
            if (row.target[k] == neuron) { w *= row.weight[k]; return true; }
        return false;
    }

    // --- currents ------------------------------------------------------------------------------------------------------

    std::vector<int> next_knot;  // of every driven input

    void begin_knots(const Component& c)
    {
        next_knot.resize(net.drives.size());
        for (int k : c.drives) next_knot[k] = 0;
    }
    double next_knot_time(const Component& c) const
    {
        double t = INF;
        for (int k : c.drives) if (next_knot[k] < net.drives[k].knots) t = std::min(t, net.drives[k].times[next_knot[k]]);
        return t;
    }
    // those that are due at t
    void knots(const Trial& trial, const Component& c, ComponentTape& tape, double t)
    {
        for (int k : c.drives)
        {
            const Drive& d = net.drives[k];
            if (next_knot[k] >= d.knots || d.times[next_knot[k]] > t) continue;
            tape.knots.push_back({k, next_knot[k]++});
            set_knot(trial, tape.knots.back());
        }
    }
    void set_knot(const Trial& trial, const Knot& knot)
    {
        const Drive& d = net.drives[knot.drive];
        GeneralNeurons& p = *neurons[d.population];
        const std::size_t from = d.row(trial.number, knot.number, p.n);
        double *value = p.state(d.state), *slope = p.state(d.state + 1);
        for (int j = 0; j < p.width; j++)
        {
            const std::size_t at = from + std::min(j, p.n - 1);
            const bool jumps = d.input >= 0 && j < p.n && d.jumps[knot.number] != 0 && value[j] != d.values[at];
            value[j] = d.values[at], slope[j] = d.slopes ? d.slopes[at] : 0.0;
            if (jumps) p.decide(d.input, j);
        }
    }
    // what a driven input was before it is set does not matter
    void knot_back(const Trial& trial, const Knot& knot)
    {
        const Drive& d = net.drives[knot.drive];
        GeneralNeurons& p = *neurons[d.population];
        const std::size_t to = d.gradient_row(trial.number, knot.number, p.n);
        double *value = p.costate(d.state), *slope = p.costate(d.state + 1);
        if (d.value_gradient) std::copy_n(value, p.n, d.value_gradient + to);
        if (d.slope_gradient) std::copy_n(slope, p.n, d.slope_gradient + to);
        std::fill_n(value, p.width, 0.0), std::fill_n(slope, p.width, 0.0);
    }
    void begin_knots_back(const Trial& trial, const Component& c)
    {
        for (int k : c.drives)
        {
            const Drive& d = net.drives[k];
            const int n = neurons[d.population]->n;
            for (double* to : {d.value_gradient, d.slope_gradient})
                if (to) std::fill_n(to + d.gradient_row(trial.number, 0, n), std::size_t(d.knots) * n, 0.0);
        }
    }

    void keep_states(const Component& c, std::vector<double>& to) const
    {
        to.resize(to.size() + state_size(c));
        copy_states(c, &to[to.size() - state_size(c)]);
    }

    // states of all populations, one after the other, and behind them who is refractory
    std::size_t state_size(const Component& c) const
    {
        std::size_t n = 0;
        for (int k : c.populations) n += neurons[k]->x.size() + (neurons[k]->refractory() ? neurons[k]->width : 0);
        return n;
    }
    void copy_states(const Component& c, double* to) const
    {
        for (int k : c.populations) to = std::copy_n(neurons[k]->x.begin(), neurons[k]->x.size(), to);
        for (int k : c.populations) if (neurons[k]->refractory()) to = std::copy_n(neurons[k]->held.begin(), neurons[k]->width, to);
    }
    void set_states(const Component& c, const double* from)
    {
        for (int k : c.populations) std::copy_n(from, neurons[k]->x.size(), neurons[k]->x.begin()), from += neurons[k]->x.size();
        for (int k : c.populations)
            if (neurons[k]->refractory())
            {
                neurons[k]->release_all();
                for (int j = 0; j < neurons[k]->n; j++) neurons[k]->hold(j, from[j] != 0);
                from += neurons[k]->width;
            }
    }
    // pieces between two checkpoints: what is computed again at once stays in the second-level cache
    int chunk(const Component& c) const { return std::max<int>(4, int(32768 / std::max<std::size_t>(1, state_size(c)))); }

    bool needs_states(const Component& c) const
    {
        for (int k : c.populations) if (neurons[k]->needs_states) return true;
        return false;
    }

    void component(Trial& trial, const Component& c, ComponentTape& tape, int number, bool keep) override
    {
        for (int q : c.incoming) next[q] = 0;
        begin_knots(c);
        begin(trial, c, tape);
        GeneralNeurons& out = *neurons[net.readout];
        const bool maxima = this->maxima(c), sampled = this->sampled(c);
        keep = keep && needs_states(c);
        const int every = chunk(c);
        flights = {}, waiting = {};
        std::size_t places = 0;
        for (int k : c.populations) places += neurons[k]->n;
        stamp.assign(places, -1);
        double t = 0, look = net.window;
        int sample = 0, instant = 0, round = 0, began = 0;  // began: where the arrivals of the instant begin
        while (true)
        {
            launch(trial, c);
            if (keep && tape.pieces.size() % every == 0) keep_states(c, tape.checkpoints);
            knots(trial, c, tape, t);
            const int a0 = int(tape.arrivals.size()), r0 = int(tape.releases.size());
            for (; !waiting.empty() && waiting.top().t <= t; waiting.pop()) release(tape, waiting.top());
            const int count = gather(trial, c, t, round, tape.arrivals);
            bool fires = int(tape.releases.size()) > r0, moved = false;
            if (count || fires)
            {
                for (int k : c.populations)
                    for (int a = a0; a < a0 + count; a++)
                    {
                        const Projection& p = net.projections[tape.arrivals[a].projection];
                        if (p.target == k && neurons[k]->fires(p.receptor)) fires = true;
                        if (maxima && neurons[k]->jumps(p.receptor)) moved = true;
                    }
                if (moved) was.assign(out.state(net.observed), out.state(net.observed) + out.n);
                if (fires) start_.clear(), keep_states(c, start_);
                for (int a = a0; a < a0 + count; a++) deliver(trial, tape.arrivals[a]);
            }
            bool again = false;
            if (fires) again = instants(trial, c, tape, a0, count, r0, t, instant, round);
            if (moved) out.peaks_jump(was.data(), t, int(tape.pieces.size()));
            launch(trial, c);
            if (again || next_arrival(trial, c) <= t)  // another round of this instant
            {
                tape.add(t, t, sample);
                round++;
                continue;
            }
            meetings(trial, c, tape, began);
            began = int(tape.arrivals.size());
            if (!(t < net.duration))
            {
                tape.add(t, t, sample);
                break;
            }
            double end = std::min(std::min(next_arrival(trial, c), net.duration), t + (c.soonest < INF ? look : net.window));
            if (!waiting.empty()) end = std::min(end, waiting.top().t);
            end = std::min(end, next_knot_time(c));
            if (sampled && sample < int(net.stops.size())) end = std::min(end, net.stops[sample].t);
            if (maxima) start_.assign(out.x.begin(), out.x.begin() + out.x.size());
            const int o0 = int(tape.owns.size());
            const double asked = end;
            flow(trial, c, tape, t, end);
            if (c.soonest < INF)
            {
                if (end < asked) look = std::max(std::min(net.window, 1.5 * (end - t)), 1e-6 * net.window);
                else look = std::min(net.window, 2 * look);
            }
            if (maxima) out.peaks(start_.data(), t, end - t, int(tape.pieces.size()));
            if (sampled && sample < int(net.stops.size()) && end == net.stops[sample].t) read(c, sample++, number);
            tape.add(t, end, sample);
            round++;
            if (end > t) instant++, round = 0;
            t = end;
        }
        for (int k : c.populations) for (int j : neurons[k]->held_list) tape.held.push_back({k, j});
        finish(trial, c);
    }

    // States at a stop, just before an event at that time
    void read(const Component& c, int stop, int number)
    {
        for (const Reading& r : net.stops[stop].readings)
        {
            const Sampling& s = net.samplings[r.sampling];
            if (!holds(c, s.population)) continue;
            GeneralNeurons& p = *neurons[s.population];
            double* to = s.values + std::size_t(number) * p.n * s.count + r.place;
            for (int j = 0; j < p.n; j++) to[std::size_t(j) * s.count] = p.state(s.state)[j];
        }
    }
    // and what the loss says of them
    void read_back(const Component& c, int stop, int number)
    {
        for (const Reading& r : net.stops[stop].readings)
        {
            const Sampling& s = net.samplings[r.sampling];
            if (!holds(c, s.population)) continue;
            GeneralNeurons& p = *neurons[s.population];
            const double* from = s.error + std::size_t(number) * p.n * s.count + r.place;
            for (int j = 0; j < p.n; j++) p.costate(s.state)[j] += from[std::size_t(j) * s.count];
        }
    }

    std::priority_queue<Release, std::vector<Release>, Later> waiting;

    void release(ComponentTape& tape, const Release& r)
    {
        GeneralNeurons& p = *neurons[r.population];
        p.hold(r.neuron, false);
        tape.releases.push_back(r);
        tape.released_at.push_back(tape.released.size());
        tape.released.resize(tape.released.size() + p.S);
        p.copy_state(r.neuron, &tape.released[tape.released_at.back()]);
    }
    // a neuron that has spiked is refractory, where its model is
    void await(int k, int j, double t, int spike)
    {
        if (!neurons[k]->refractory()) return;
        neurons[k]->hold(j, true);
        const double until = t + neurons[k]->duration(j);
        if (until <= net.duration) waiting.push({until, k, j, spike});
    }

    // Flow from t to `end`, or to the first time at which the component may feel a spike of its own
    void flow(Trial& trial, const Component& c, ComponentTape& tape, double t, double& end)
    {
        for (int k : c.populations) neurons[k]->clock = t;
        const bool independent = !(t + c.soonest < end);
        double limit = end;
        if (independent)
            for (int k : c.populations)
            {
                neurons[k]->advance(end - t, true, true);
                neurons[k]->search(end - t);
            }
        else
        {
            double first = INF;
            for (int k : c.populations)
            {
                neurons[k]->advance(end - t, true, false);
                neurons[k]->search(end - t);
                first = std::min(first, neurons[k]->felt(c.shortest));
            }
            if (first < INF) limit = std::min(end, t + first);
            for (int k : c.populations) neurons[k]->advance(limit - t, false, true);
        }
        end = limit;
        const int o0 = int(tape.owns.size());
        bool turned = false;
        for (int k : c.populations)
        {
            if (!neurons[k]->eventful()) continue;
            Train& train = trial.trains[net.inputs + k];
            const int from = train.size();
            neurons[k]->settle(t, limit - t, limit, train);
            for (int s = from; s < train.size(); s++)
            {
                tape.own(train.t[s], k, s);
                await(k, train.neuron[s], train.t[s], s);
            }
            const Turns& turns = neurons[k]->turns;
            for (int s = 0; s < turns.size(); s++)
            {
                tape.own(turns.t[s], k, tape.turns.size(), turns.kind[s]);
                tape.turns.add(turns.t[s], turns.neuron[s], turns.kind[s], &turns.before[turns.at[s]], neurons[k]->S);
            }
            turned = turned || turns.size();
        }
        // of one neuron at one time, a spike comes before what it turns
        if (c.populations.size() > 1 || turned)
            std::stable_sort(tape.owns.begin() + o0, tape.owns.end(), [](const Own& a, const Own& b) { return a.t < b.t; });
    }

    // Spikes that the arrivals [a0, a0 + count) at t have caused; whether a refractory period of theirs ends at this instant
    bool instants(Trial& trial, const Component& c, ComponentTape& tape, int a0, int count, int r0, double t, int instant, int round)
    {
        bool again = false;
        std::size_t base = 0, place = 0;
        for (int k : c.populations)
        {
            GeneralNeurons& p = *neurons[k];
            p.above(above_);
            Train& train = trial.trains[net.inputs + k];
            for (int j : above_)
            {
                double state[64], w;
                for (int i = 0; i < p.S; i++) state[i] = start_[base + std::size_t(i) * p.width + j];
                double g = p.event(state, j);
                int cause = FLOW;
                // released at this instant above its threshold
                for (int r = r0; r < int(tape.releases.size()); r++)
                    if (tape.releases[r].population == k && tape.releases[r].neuron == j && g > 0) cause = -2 - r;
                for (int a = a0; a < a0 + count; a++)
                {
                    if (!reaches(trial, tape.arrivals[a], k, j, w)) continue;
                    p.arrive_one(net.projections[tape.arrivals[a].projection].receptor, j, w, state);
                    const double after = p.event(state, j);
                    if (!(g > 0) && after > 0) cause = a;
                    g = after;
                }
                if (cause == FLOW) continue;  // above before: a crossing at the start of the piece
                if (stamp[place + j] == instant) throw Failure{"cascade", k, j, t};
                stamp[place + j] = instant;
                double before[64], after[64];
                p.copy_state(j, before);
                p.reset(before, j, after);
                if (!p.refractory() && p.event(after, j) > 0) throw Failure{"reset", k, j, t};
                for (int i = 0; i < p.S; i++) p.state(i)[j] = after[i];
                tape.instants.push_back({t, k, train.size(), SPIKE});
                train.rounds.push_back({train.size(), round + 1});
                await(k, j, t, train.size());
                train.t.push_back(t), train.neuron.push_back(j), train.cause.push_back(cause);
                train.before.insert(train.before.end(), before, before + p.S);
                if (p.refractory() && p.duration(j) == 0) again = true;
            }
            p.refuse_runaway(train);
            base += p.x.size(), place += p.n;
        }
        return again;
    }

    // --- backward ------------------------------------------------------------------------------------------------------

    struct Chain { int population, neuron; double at; bool held; std::vector<double> costate; };
    std::vector<Chain> chains;
    std::size_t used = 0;
    std::vector<int> chain_of;
    std::vector<std::size_t> first_place;
    std::vector<std::pair<int, int>> pulls;  // piece, neuron
    struct Shift { int piece, neuron; };
    std::vector<Shift> shifts;

    // A maximum just before or just after arrivals at the start of piece n moves with those of the first round of that instant
    // that reaches its neuron
    void shift(const Trial& trial, const ComponentTape& tape, int n, int j)
    {
        double w;
        int a = n ? tape.pieces[n - 1].arrivals : 0;
        for (int m = n; m < int(tape.pieces.size()) && tape.pieces[m].t == tape.pieces[n].t; m++)
            for (; a < tape.pieces[m].arrivals; a++)
                if (reaches(trial, tape.arrivals[a], net.readout, j, w)) return shifts.push_back({m, j});
    }
    // states: of the component, just before each of the piece's arrivals, where their rules read them
    void shift_back(Trial& trial, const Component& c, const ComponentTape& tape, const Piece& before, const Piece& piece, int j, double error, const double* states)
    {
        GeneralNeurons& out = *neurons[net.readout];
        const Peak& peak = trial.peaks[j];
        std::size_t own = 0;
        for (int k : c.populations) { if (k == net.readout) break; own += neurons[k]->x.size(); }
        const auto each = [&](auto f) {
            int k = 0;
            double w;
            for (int a = before.arrivals; a < piece.arrivals; a++)
            {
                const Arrival& one = tape.arrivals[a];
                if (!reaches(trial, one, net.readout, j, w)) continue;
                const int receptor = net.projections[one.projection].receptor;
                at = a;
                f(k++, out.lowers(receptor, j, w, states ? states + std::size_t(a - before.arrivals) * state_size(c) + own : nullptr), out.jumps(receptor));
            }
        };
        kink(peak.rate, peak.kind == Peak::AFTER, !(piece.t < net.duration), each, [&](int, double share) { collect(trial, tape.arrivals[at], error * share); });
    }
    int at = 0;  // the arrival that shift_back() looks at

    Chain& chain(int k, int j, double end)
    {
        int& at = chain_of[first_place[k] + j];
        if (at < 0)
        {
            at = int(used++);
            if (chains.size() < used) chains.emplace_back();
            Chain& x = chains[at];
            x.population = k, x.neuron = j, x.at = end, x.held = neurons[k]->held[j];
            x.costate.resize(neurons[k]->S);
            for (int i = 0; i < neurons[k]->S; i++) x.costate[i] = neurons[k]->costate(i)[j];
        }
        return chains[at];
    }

    void component_back(Trial& trial, const Component& c, ComponentTape& tape, const Cotangent& loss) override
    {
        const bool output = std::find(c.populations.begin(), c.populations.end(), net.readout) != c.populations.end();
        GeneralNeurons& out = *neurons[net.readout];
        const bool states = needs_states(c);
        first_place.assign(neurons.size(), 0);
        std::size_t places = 0;
        for (int k : c.populations)
        {
            first_place[k] = places, places += neurons[k]->n;
            neurons[k]->release_all();
        }
        gradients_begin(c);
        for (const auto& [k, j] : tape.held) neurons[k]->hold(j, true);
        release_sens.assign(tape.releases.size(), 0);
        chain_of.assign(places, -1);
        pulls.clear();
        if (output && loss.maxima)
            for (int j = 0; j < out.n; j++)
                if (trial.peaks[j].kind != Peak::START && loss.maxima[j] != 0) pulls.push_back({trial.peaks[j].piece, j});
        std::sort(pulls.begin(), pulls.end());
        shifts.clear();
        for (const auto& [n, j] : pulls) if (trial.peaks[j].kind != Peak::SMOOTH) shift(trial, tape, n, j);
        std::sort(shifts.begin(), shifts.end(), [](const Shift& a, const Shift& b) { return a.piece < b.piece; });
        begin_knots_back(trial, c);
        const int every = chunk(c);
        const std::size_t size = state_size(c);
        const bool reading = reads(c);
        bool active = false;  // whether any costate may differ from zero
        for (int n = int(tape.pieces.size()) - 1; n >= 0; n--)
        {
            const Piece& piece = tape.pieces[n];
            const Piece before = n ? tape.pieces[n - 1] : Piece{};
            if (states && (n == int(tape.pieces.size()) - 1 || (n + 1) % every == 0)) replay(trial, c, tape, n / every * every, n + 1);
            const double* start = states ? &replayed[std::size_t(n % every) * size] : nullptr;
            // their arrivals are in later pieces, and their times are wanted now
            for (int q : c.incoming) if (net.projections[q].sources >= 0) settle_own(trial, tape, before, piece, q);
            if (loss.sampled >= 0 && piece.samples > before.samples) active = true, read_back(c, before.samples, loss.sampled);
            // what happens to single neurons inside the piece, from its end to its start
            used = 0;
            if (active)
                for (int k : c.populations) for (int j : neurons[k]->held_list) chain(k, j, piece.end);
            for (std::size_t k = pulls.size(); k-- > 0 && pulls[k].first == n;)
            {
                const int j = pulls[k].second;
                if (trial.peaks[j].kind != Peak::SMOOTH) continue;
                active = true;
                Chain& x = chain(net.readout, j, piece.end);
                segment(c, x, trial.peaks[j].time, start, piece.t);
                x.costate[net.observed] += loss.maxima[j];
            }
            for (int o = piece.owns; o-- > before.owns;)
            {
                const Own& own = tape.owns[o];
                Train& train = trial.trains[net.inputs + own.population];
                GeneralNeurons& p = *neurons[own.population];
                if (own.kind != SPIKE)
                {
                    if (!active) continue;
                    const int j = tape.turns.neuron[own.spike];
                    Chain& x = chain(own.population, j, piece.end);
                    p.back_event(x.at - own.t, j, x.costate.data(), &tape.turns.before[tape.turns.at[own.spike]], 0, own.kind);
                    x.at = own.t;
                    continue;
                }
                const int j = train.neuron[own.spike];
                if (!active && train.sens[own.spike] == 0) { p.hold(j, false); continue; }
                active = true;
                const double* crossing = &train.before[std::size_t(own.spike) * p.S];
                Chain& x = chain(own.population, j, piece.end);
                p.hold(j, false);
                p.back_event(x.at - own.t, j, x.costate.data(), crossing, train.sens[own.spike], SPIKE);
                x.at = own.t, x.held = false;
            }
            for (std::size_t k = 0; k < used; k++) segment(c, chains[k], piece.t, start, piece.t, true);
            if (used) for (int k : c.populations) neurons[k]->finish();
            if (active && piece.end > piece.t)
            {
                // neurons with a chain of their own are no part of the rest
                for (std::size_t k = 0; k < used; k++) put(chains[k], false);
                std::size_t base = 0;
                for (int k : c.populations)
                {
                    neurons[k]->back(piece.end - piece.t, start ? start + base : nullptr);
                    base += neurons[k]->x.size();
                }
            }
            for (std::size_t k = 0; k < used; k++)
            {
                put(chains[k], true);
                chain_of[first_place[chains[k].population] + chains[k].neuron] = -1;
            }
            if (!pulls.empty()) kinks(trial, loss, n, Peak::AFTER, active);
            for (int o = piece.instants; o-- > before.instants;)
            {
                const Own& own = tape.instants[o];
                Train& train = trial.trains[net.inputs + own.population];
                GeneralNeurons& p = *neurons[own.population];
                const int j = train.neuron[own.spike];
                one.resize(p.S);
                for (int i = 0; i < p.S; i++) one[i] = p.costate(i)[j];
                const double sigma = p.spike_back(j, &train.before[std::size_t(own.spike) * p.S], one.data(), train.sens[own.spike], false);
                for (int i = 0; i < p.S; i++) p.costate(i)[j] = one[i];
                active = active || sigma != 0;
                p.hold(j, false);
                // the spike moves with the arrival or the release that causes it
                const int cause = train.cause[own.spike];
                if (cause >= 0) collect(trial, tape.arrivals[cause], sigma);
                else release_sens[-2 - cause] += sigma;
            }
            if (active && piece.arrivals > before.arrivals)
            {
                if (reading) before_arrivals(trial, c, tape, before, piece, &entered[std::size_t(n % every) * size]);
                for (int a = piece.arrivals; a-- > before.arrivals;)
                    arrive_back(trial, c, tape.arrivals[a], reading ? &arriving[std::size_t(a - before.arrivals) * size] : nullptr);
            }
            if (!pulls.empty()) kinks(trial, loss, n, Peak::BEFORE, active);
            for (; !shifts.empty() && shifts.back().piece == n; shifts.pop_back())
            {
                if (reading) before_arrivals(trial, c, tape, before, piece, &entered[std::size_t(n % every) * size]);
                shift_back(trial, c, tape, before, piece, shifts.back().neuron, loss.maxima[shifts.back().neuron], reading ? arriving.data() : nullptr);
            }
            for (int r = piece.releases; r-- > before.releases;)
            {
                const Release& end = tape.releases[r];
                GeneralNeurons& p = *neurons[end.population];
                one.resize(p.S);
                for (int i = 0; i < p.S; i++) one[i] = p.costate(i)[end.neuron];
                const double s = release_sens[r] + (active ? p.release_back(end.neuron, &tape.released[tape.released_at[r]], one.data()) : 0.0);
                trial.trains[net.inputs + end.population].sens[end.spike] += s;
                p.duration_back(end.neuron, s);
                p.hold(end.neuron, true);
            }
            if (active) for (int i = piece.knots; i-- > before.knots;) knot_back(trial, tape.knots[i]);
            while (!pulls.empty() && pulls.back().first >= n) pulls.pop_back();
        }
        // a maximum at time 0 is the initial state
        if (output && loss.maxima)
            for (int j = 0; j < out.n; j++)
                if (trial.peaks[j].kind == Peak::START && loss.maxima[j] != 0) active = true, out.costate(net.observed)[j] += loss.maxima[j];
        if (active) for (int k : c.populations) neurons[k]->back_end();
        for (int q : c.incoming)
            if (const int s = net.projections[q].sources; s >= 0) source_states[s].finish(trial.trains[source_states[s].source], trial.sent[s]);
    }
    // hands on what the amplitudes of spikes of the piece itself give
    void settle_own(Trial& trial, const ComponentTape& tape, const Piece& before, const Piece& piece, int q)
    {
        const int s = net.projections[q].sources, population = source_states[s].source - net.inputs;
        int first = trial.sent[s].left;
        auto look = [&](const Own& own) { if (own.kind == SPIKE && own.population == population) first = std::min(first, own.spike); };
        for (int o = before.instants; o < piece.instants; o++) look(tape.instants[o]);
        for (int o = before.owns; o < piece.owns; o++) look(tape.owns[o]);
        source_states[s].settle(trial.trains[source_states[s].source], trial.sent[s], first);
    }

    std::vector<double> one, moving, replayed, entered, arriving, release_sens;
    std::vector<std::vector<int>> held_now;

    // who is refractory in the backward pass, kept while states are computed again
    void keep_held(const Component& c) { held_now.clear(); for (int k : c.populations) held_now.push_back(neurons[k]->held_list); }
    void restore_held(const Component& c)
    {
        for (std::size_t i = 0; i < c.populations.size(); i++)
        {
            GeneralNeurons& p = *neurons[c.populations[i]];
            p.release_all();
            for (int j : held_now[i]) p.hold(j, true);
        }
    }

    bool reads(const Component& c) const
    {
        for (int q : c.incoming) if (neurons[net.projections[q].target]->reads(net.projections[q].receptor)) return true;
        return false;
    }

    void put(const Chain& x, bool costate)
    {
        for (int i = 0; i < neurons[x.population]->S; i++) neurons[x.population]->costate(i)[x.neuron] = costate ? x.costate[i] : 0.0;
    }

    // Maxima that the arrivals at the start of piece n make, with the value just before or just after them: here the value
    // counts, and its time, which is that of the arrivals, by shift()
    void kinks(const Trial& trial, const Cotangent& loss, int n, Peak::Kind kind, bool& active)
    {
        for (std::size_t k = pulls.size(); k-- > 0 && pulls[k].first == n;)
        {
            const int j = pulls[k].second;
            if (trial.peaks[j].kind != kind) continue;
            active = true;
            neurons[net.readout]->costate(net.observed)[j] += loss.maxima[j];
        }
    }

    // States at the start of every piece [from, to), before its arrivals and after all that happens there at once
    void replay(const Trial& trial, const Component& c, const ComponentTape& tape, int from, int to)
    {
        const std::size_t size = state_size(c);
        const int every = chunk(c);
        replayed.resize(size * every), entered.resize(size * every);
        const double* kept = &tape.checkpoints[std::size_t(from / every) * size];
        keep_held(c);
        set_states(c, kept);
        for (int n = from; n < to; n++)
        {
            const Piece& piece = tape.pieces[n];
            const Piece before = n ? tape.pieces[n - 1] : Piece{};
            copy_states(c, &entered[std::size_t(n - from) * size]);
            for (int i = before.knots; i < piece.knots; i++) set_knot(trial, tape.knots[i]);
            for (int r = before.releases; r < piece.releases; r++) neurons[tape.releases[r].population]->hold(tape.releases[r].neuron, false);
            for (int a = before.arrivals; a < piece.arrivals; a++) deliver(trial, tape.arrivals[a]);
            for (int o = before.instants; o < piece.instants; o++) again(trial, tape, tape.instants[o], piece.t);
            copy_states(c, &replayed[std::size_t(n - from) * size]);
            if (!(piece.end > piece.t)) continue;
            for (int k : c.populations) neurons[k]->advance(piece.end - piece.t, false, true);
            for (int o = before.owns; o < piece.owns; o++) again(trial, tape, tape.owns[o], piece.end);
            for (int k : c.populations) neurons[k]->finish();
        }
        restore_held(c);
    }
    // the state after a known event, at t
    void again(const Trial& trial, const ComponentTape& tape, const Own& own, double t)
    {
        GeneralNeurons& p = *neurons[own.population];
        if (own.kind != SPIKE) return p.follow(t - own.t, tape.turns.neuron[own.spike], &tape.turns.before[tape.turns.at[own.spike]], own.kind);
        const Train& train = trial.trains[net.inputs + own.population];
        p.follow(t - own.t, train.neuron[own.spike], &train.before[std::size_t(own.spike) * p.S], SPIKE);
    }
    // states before each of the arrivals [a0, a1) of one instant
    void before_arrivals(const Trial& trial, const Component& c, const ComponentTape& tape, const Piece& before, const Piece& piece, const double* kept)
    {
        const int a0 = before.arrivals, a1 = piece.arrivals;
        const std::size_t size = state_size(c);
        arriving.resize(size * (a1 - a0));
        keep_held(c);
        set_states(c, kept);
        for (int i = before.knots; i < piece.knots; i++) set_knot(trial, tape.knots[i]);
        for (int r = before.releases; r < piece.releases; r++) neurons[tape.releases[r].population]->hold(tape.releases[r].neuron, false);
        for (int a = a0; a < a1; a++)
        {
            copy_states(c, &arriving[std::size_t(a - a0) * size]);
            deliver(trial, tape.arrivals[a]);
        }
        restore_held(c);
    }

    void collect(Trial& trial, const Arrival& a, double s)
    {
        const Projection& p = net.projections[a.projection];
        trial.trains[p.source].sens[a.spike] += s;
        delay_sums[a.projection][a.entry >= 0 ? a.entry : 0] += s;
    }

    void arrive_back(Trial& trial, const Component& c, const Arrival& a, const double* states)
    {
        const Projection& p = net.projections[a.projection];
        GeneralNeurons& to = *neurons[p.target];
        if (states) for (int k : c.populations) { if (k == p.target) break; states += neurons[k]->x.size(); }
        const int i = trial.trains[p.source].neuron[a.spike];
        const std::size_t at = a.entry >= 0 ? std::size_t(a.entry) : p.sparse ? std::size_t(p.first[i]) : std::size_t(i) * p.width;
        const Row row = arriving_row(trial, a);
        double* sums = weight_sums[a.projection].begin() + at;
        if (p.sources >= 0)
        {
            by_weight.resize(row.n);  // to zeros
            collect(trial, a, to.arrive_back(p.receptor, row, by_weight.begin(), states, p.timed));
            const double by = amplitude(trial, a);
            double& error = trial.sent[p.sources].error[a.spike];
            // the padding of a row is no neuron
            for (int k = 0, n = row.target ? row.n : to.n; k < n; k++) sums[k] += by * by_weight[k], error += p.weight[at + k] * by_weight[k];
        }
        else collect(trial, a, to.arrive_back(p.receptor, row, sums, states, p.timed));
    }

    // a chain from where it is back to t: what precedes is the start of the piece
    void segment(const Component& c, Chain& x, double t, const double* start, double piece, bool later = false)
    {
        GeneralNeurons& p = *neurons[x.population];
        one.assign(p.S, 0);
        if (start)
        {
            for (int k : c.populations) { if (k == x.population) break; start += neurons[k]->x.size(); }
            for (int i = 0; i < p.S; i++) one[i] = start[std::size_t(i) * p.width + x.neuron];
            if (t > piece) { moving.assign(p.S, 0); p.flow_one(t - piece, x.neuron, one.data(), moving.data()); std::swap(one, moving); }
        }
        if (later) p.back_later(x.at - t, x.neuron, x.costate.data(), one.data(), x.held);
        else p.back_one(x.at - t, x.neuron, x.costate.data(), one.data(), x.held);
        x.at = t;
    }
};

}  // namespace snn
