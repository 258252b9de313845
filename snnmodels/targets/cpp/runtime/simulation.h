// Whole trials: components of populations, one after the other, then backward in reverse, each by the cheapest way that suits it:
// swept (sweep.h), scattered (sparse.h), or in general (general.h), of which a program may lack the last two.
#pragma once
#include <stdexcept>
#include "simulator.h"

namespace snn {

class EventSimulator : public Simulator
{
public:
    EventSimulator(const Network& net, std::vector<std::unique_ptr<Neurons>> neurons) : Simulator(std::move(neurons)), net(net), sparse(make_sparse(net, this->neurons)) {}

    void refresh() override
    {
        for (auto& p : neurons) p->refresh();
        if (sparse) sparse->refresh();
    }

    // --- forward -------------------------------------------------------------------------------------------------------

    void forward(Trial& trial, int number, bool keep) override
    {
        trial.tapes.resize(net.components.size());
        start(trial);
        for (std::size_t c = 0; c < net.components.size(); c++)
        {
            if (trial.tapes[c].scattered = scattered(net.components[c]) && scatter(trial, net.components[c], trial.tapes[c]))
            {
                if (sparse->long_(net.components[c])) left_out = true;
                else ties += sparse->meetings(trial, net.components[c]);
                continue;
            }
            if (swept(net.components[c])) sweep(trial, net.components[c], trial.tapes[c]);
            else component(trial, net.components[c], trial.tapes[c], number, keep);
        }
        for (int k = 0; k < net.populations; k++) ties += together(trial.trains[net.inputs + k]);  // neurons behind them are states of sources
    }

    long late_ties(const Trial& trial) override;

    // --- backward ------------------------------------------------------------------------------------------------------

    void backward_begin(bool in_place) override
    {
        weight_sums.resize(net.projections.size()), delay_sums.resize(net.projections.size());
        for (std::size_t q = 0; q < net.projections.size(); q++)
        {
            const Projection& p = net.projections[q];
            weight_sums[q].start(p.entries(), in_place ? p.weight_gradient : nullptr);
            delay_sums[q].start(p.delayed ? p.entries() : 1, in_place ? p.delay_gradient : nullptr);
        }
        parameter_sums.resize(neurons.size());
        for (std::size_t k = 0; k < neurons.size(); k++) parameter_sums[k].resize(std::size_t(neurons[k]->G) * neurons[k]->width);
    }

    void backward(Trial& trial, const Cotangent& loss) override
    {
        for (Train& train : trial.trains) train.sens.assign(train.size(), 0.0);
        for (int i = 0; i < loss.populations; i++)
        {
            const SpikeCotangent& read = loss.spikes[i];
            Train& out = trial.trains[net.inputs + read.population];
            place.assign(neurons[read.population]->n, 0);
            for (int k = 0; k < out.size(); k++)
            {
                const int j = out.neuron[k];
                // spikes beyond what the loss speaks of don't count
                if (place[j] < read.capacity) out.sens[k] = read.values[std::size_t(j) * read.capacity + place[j]++];
            }
        }
        start_back(trial);
        for (int c = int(net.components.size()) - 1; c >= 0; c--)
        {
            if (trial.tapes[c].scattered)
            {
                gradients_begin(net.components[c]);
                sparse->backward(trial, net.components[c], trial.tapes[c], weight_sums, delay_sums);
            }
            else if (swept(net.components[c]))
            {
                Sweep back = swept(trial, net.components[c], trial.tapes[c]);
                back.loss = &loss, back.weight_sums = &weight_sums, back.delay_sums = &delay_sums;
                neurons[net.components[c].populations[0]]->sweep_back(back);
            }
            else component_back(trial, net.components[c], trial.tapes[c], loss);
        }
    }

protected:
    const Network& net;
    std::unique_ptr<ComponentSimulator> sparse;  // null where the program has no such way

    // The general way, see general.h
    virtual void start(Trial& trial) { (void)trial; }
    virtual void start_back(Trial& trial) { (void)trial; }
    virtual void component(Trial& trial, const Component& c, ComponentTape& tape, int number, bool keep)
    {
        (void)trial, (void)c, (void)tape, (void)number, (void)keep;
        only_sweeps();
    }
    virtual void component_back(Trial& trial, const Component& c, ComponentTape& tape, const Cotangent& loss)
    {
        (void)trial, (void)c, (void)tape, (void)loss;
        only_sweeps();
    }
    static void only_sweeps() { throw std::runtime_error("a component of this network can't be swept, and its program has no other way: a fault of snnmodels, please report it with the network"); }

    std::vector<int> place, above_;

    // counts populations at which several of the arrivals from `from` on meet, those of one instant in all of its rounds
    void meetings(const Trial& trial, const Component& c, const ComponentTape& tape, int from)
    {
        if (int(tape.arrivals.size()) - from > 1) for (int k : c.populations) ties += meet(trial, tape, from, k);
    }
    // whether several spikes arrive at a population; one may come through several projections
    bool meet(const Trial& trial, const ComponentTape& tape, int from, int population) const
    {
        const Arrival* first = nullptr;
        for (int a = from; a < int(tape.arrivals.size()); a++)
        {
            const Arrival& x = tape.arrivals[a];
            const Projection& p = net.projections[x.projection];
            if (p.target != population || (p.sparse && !p.row(trial.trains[p.source].neuron[x.spike]).n)) continue;
            if (!first) first = &x;
            else if (x.spike != first->spike || p.source != net.projections[first->projection].source) return true;
        }
        return false;
    }

    // where the sums over parameters go
    void gradients_begin(const Component& c)
    {
        for (int k : c.populations)
        {
            std::vector<double*> rows(neurons[k]->G + 1);
            for (int g = 0; g < neurons[k]->G; g++) rows[g] = parameter_sums[k].begin() + std::size_t(g) * neurons[k]->width;
            neurons[k]->back_begin(rows.data());
        }
    }

    // false where it turns out that it can't be
    bool scatter(Trial& trial, const Component& c, ComponentTape& tape)
    {
        try { sparse->forward(trial, c, tape); }
        catch (const NotScattered&) { return false; }
        return true;
    }

    bool scattered(const Component& c) const { return sparse && c.drives.empty() && sparse->suits(c) && !sampled(c) && !sourced(c); }

    // whether weights of what comes in are multiplied by something
    bool sourced(const Component& c) const
    {
        for (int q : c.incoming) if (net.projections[q].sources >= 0) return true;
        return false;
    }

    bool maxima(const Component& c) const
    {
        return net.maxima && std::find(c.populations.begin(), c.populations.end(), net.readout) != c.populations.end();
    }

    // whether states of its populations are read at given times
    bool sampled(const Component& c) const
    {
        for (const Sampling& s : net.samplings) if (holds(c, s.population)) return true;
        return false;
    }
    static bool holds(const Component& c, int k) { return std::find(c.populations.begin(), c.populations.end(), k) != c.populations.end(); }

    // whether nothing that its population does comes back to it, see sweep.h
    bool swept(const Component& c) const
    {
        const int k = c.populations[0];
        if (!net.sweeping || !c.drives.empty() || c.populations.size() > 1 || !neurons[k]->sweeps() || sampled(c) || sourced(c)) return false;
        if (maxima(c) && neurons[k]->spiking()) return false;
        for (int q : c.incoming)
        {
            const Projection& p = net.projections[q];
            if (p.source == net.inputs + k || p.sparse || p.delayed || !neurons[k]->sweeps(p.receptor)) return false;
            if (maxima(c) && neurons[k]->jumps(p.receptor)) return false;
        }
        return true;
    }

    // the receptor at which all that comes in arrives, -1 where there are several
    int receptor(const Component& c) const
    {
        int found = -1;
        for (int q : c.incoming)
        {
            if (found >= 0 && net.projections[q].receptor != found) return -1;
            found = net.projections[q].receptor;
        }
        return found;
    }

    // a projection on its way through the spikes of its source
    struct Source
    {
        int projection, next, n;
        const double* t;
        double delay, due;    // due: when the next arrives
        const Train* rounds;  // null where no spike waits for one
        void look() { due = next < n ? t[next] + delay : INF; }
    };
    std::vector<Source> sources;

    // Pieces between the arrivals of a trial, of which all are known
    void cut(Trial& trial, const Component& c, ComponentTape& tape)
    {
        sources.clear();
        std::size_t most = 0;
        for (int q : c.incoming)
        {
            const Projection& p = net.projections[q];
            const Train& train = trial.trains[p.source];
            sources.push_back({q, 0, train.size(), train.t.data(), *p.delay, INF, *p.delay > 0 || train.rounds.empty() ? nullptr : &train});
            sources.back().look();
            most += train.size();
        }
        tape.arrivals.reserve(most), tape.stretches.reserve(most + 2);
        double t = 0;
        int round = 0, began = 0, before = 0;
        while (true)
        {
            // arrivals at t of this round, in the order of gather()
            double arrival = INF;
            for (Source& s : sources)
            {
                const std::size_t first = tape.arrivals.size();
                for (; s.due <= t && (!s.rounds || s.rounds->round(s.next) <= round); s.next++, s.look())
                {
                    Arrival& a = tape.arrivals.emplace_back();
                    a.projection = s.projection, a.spike = s.next, a.entry = -1;
                }
                trial.trains[net.projections[s.projection].source].by_source(tape.arrivals.begin() + first, tape.arrivals.end());
                arrival = std::min(arrival, s.due);
            }
            const bool again = arrival <= t, more = t < net.duration;
            const double end = more && !again ? std::min(std::min(arrival, net.duration), t + net.window) : t;
            stretch(tape, t, int(tape.arrivals.size()));
            tape.fullest = std::max(tape.fullest, int(tape.arrivals.size()) - before), before = int(tape.arrivals.size());
            if (!again) meetings(trial, c, tape, began), began = int(tape.arrivals.size());
            if (!more && !again) break;
            round = again ? round + 1 : 0;
            t = end;
        }
        stretch(tape, t, 0);
    }
    static void stretch(ComponentTape& tape, double t, int arrivals)
    {
        Stretch& s = tape.stretches.emplace_back();  // field by field, and spikes come later
        s.t = t, s.arrivals = arrivals;
    }
    // The same where one projection comes in and no spike waits for a round
    void cut(Trial& trial, const Component& c, ComponentTape& tape, int projection)
    {
        const Projection& p = net.projections[projection];
        const Train& train = trial.trains[p.source];
        const double *times = train.t.data(), delay = *p.delay;
        const int n = train.size();
        // in one go over arrivals, without branches for those of one instant, which nobody could guess
        tape.stretches.resize(n + 4 + std::size_t(net.duration / net.window));
        Stretch* last = tape.stretches.data();
        double t = 0;
        int k = 0, met = 0, fullest = 0;  // met: how many have arrived at t
        long meetings = 0;  // rows are dense, see swept()
        last->t = t, last->arrivals = k;
        const auto go = [&](double end) { t = end, met = 0, last++, last->t = t, last->arrivals = k; };
        for (; k < n; k++)
        {
            const double due = times[k] + delay;
            if (!(due <= net.duration)) break;
            while (due > t + net.window) go(t + net.window);
            const bool later = due > t;
            met = later ? 1 : met + 1, t = later ? due : t, last += later;
            last->t = t, last->arrivals = k + 1;
            meetings += met == 2, fullest = std::max(fullest, met);
        }
        while (t < net.duration) go(std::min(t + net.window, net.duration));
        ties += meetings, tape.fullest = fullest;
        tape.stretches.resize(last + 1 - tape.stretches.data());
        stretch(tape, net.duration, 0);
    }
    // The projection with which all comes in, in the order of its source's spikes; -1 where there are several, or rounds, in which
    // spikes of one time are not in the order of their neurons
    int only(const Trial& trial, const Component& c) const
    {
        return c.incoming.size() == 1 && trial.trains[net.projections[c.incoming[0]].source].rounds.empty() ? c.incoming[0] : -1;
    }
    // What a sweep goes by
    Sweep swept(Trial& trial, const Component& c, ComponentTape& tape) const
    {
        return {net, trial, tape, maxima(c), only(trial, c), receptor(c)};
    }
    // Where the weights of its arrivals begin, with the last once more for each arrival of the fullest stretch
    const double* const* find_rows(const Sweep& of)
    {
        const ComponentTape& tape = of.tape;
        const int n = tape.stretches[tape.stretches.size() - 2].arrivals;
        rows.resize(n + tape.fullest);
        const double** to = rows.data();
        for (int k = 0; k < n;)
        {
            const int projection = of.projection(k);
            const Projection& p = net.projections[projection];
            const double* weight = p.weight;
            const std::int64_t width = p.width;
            const int* neuron = of.trial.trains[p.source].neuron.data();
            if (of.only >= 0) for (; k < n; k++) to[k] = weight + neuron[k] * width;
            else for (; k < n && tape.arrivals[k].projection == projection; k++) to[k] = weight + neuron[tape.arrivals[k].spike] * width;
        }
        std::fill_n(to + n, n ? tape.fullest : 0, n ? to[n - 1] : nullptr);
        return to;
    }
    Plain<const double*> rows;

    void sweep(Trial& trial, const Component& c, ComponentTape& tape)
    {
        begin(trial, c, tape);
        if (const int projection = only(trial, c); projection >= 0) cut(trial, c, tape, projection);
        else cut(trial, c, tape);
        Sweep there = swept(trial, c, tape);
        there.rows = find_rows(there);
        neurons[c.populations[0]]->sweep(there);
        finish(trial, c);
    }

    // instants at which several neurons of a population spike
    static long together(const Train& train)
    {
        const double* t = train.t.data();
        long found = 0;
        for (int k = 1, n = train.size(); k < n; k++) found += t[k] == t[k - 1] && !(k > 1 && t[k - 2] == t[k]);
        return found;
    }

    void begin(Trial& trial, const Component& c, ComponentTape& tape)
    {
        tape.clear();
        for (int k : c.populations)
        {
            neurons[k]->begin();
            trial.trains[net.inputs + k].clear();
            neurons[k]->above(above_);
            if (!above_.empty()) throw Failure{"start", k, above_[0], 0};
        }
        if (maxima(c)) neurons[net.readout]->peaks_begin();
    }

    void finish(Trial& trial, const Component& c)
    {
        for (int k : c.populations)
            if (!all_finite(neurons[k]->x.begin(), neurons[k]->x.size()))
                for (std::size_t i = 0; i < neurons[k]->x.size(); i++)
                    if (!std::isfinite(neurons[k]->x[i]) && int(i % neurons[k]->width) < neurons[k]->n) throw Failure{"finite", k, int(i % neurons[k]->width), net.duration};
        Neurons& out = *neurons[net.readout];
        if (maxima(c)) { trial.peaks.resize(out.n); for (int j = 0; j < out.n; j++) trial.peaks[j] = out.peak(j); }
    }
};

}  // namespace snn
