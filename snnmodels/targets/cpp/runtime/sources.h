// States that live with the source neurons of a projection: they set the amplitude by which the weights of a spike are multiplied.
#pragma once
#include <cmath>
#include "network.h"

namespace snn {

// They are neurons that never spike, whose one arrival is a spike of their own neuron when it is sent, and whose last state is
// the amplitude then. Nothing else happens to them, so that they need no place in the pieces of a component: a spike's amplitude
// is found when it is first wanted, and what the loss says of it is handed on, backward, once all its arrivals are done.
class Sources
{
public:
    Sources(GeneralNeurons& states, int source, int target) : source(source), target(target), p(states) {}

    void begin(SentSpikes& sent)
    {
        sent.clear(p.n);
        p.begin();
    }

    // the amplitudes of all spikes up to one
    void send(const Train& train, SentSpikes& sent, int spike)
    {
        for (int k = sent.size(); k <= spike; k++)
        {
            const int j = train.neuron[k], last = sent.last[j], S = p.S;
            const double interval = train.t[k] - (last >= 0 ? train.t[last] : 0.0);
            double state[64], before[64];
            p.copy_state(j, state);
            sent.start.insert(sent.start.end(), state, state + S);
            p.flow_one(interval, j, state, before);
            sent.before.insert(sent.before.end(), before, before + S);
            p.arrive_one(0, j, 1.0, before);
            if (!std::isfinite(before[S - 1])) throw Failure{"amplitude", target, j, train.t[k]};
            for (int i = 0; i < S; i++) p.state(i)[j] = before[i];
            sent.amplitude.push_back(before[S - 1]), sent.interval.push_back(interval);
            sent.last[j] = k;
        }
    }

    void back_begin(SentSpikes& sent, double* gradients)
    {
        std::vector<double*> rows(p.G + 1);
        for (int g = 0; g < p.G; g++) rows[g] = gradients + std::size_t(g) * p.width;
        p.back_begin(rows.data());
        sent.error.assign(sent.size(), 0.0), sent.left = sent.size();
    }

    // hands on what the spikes from one on give to times and parameters
    void settle(Train& train, SentSpikes& sent, int from)
    {
        for (; sent.left > from; sent.left--)
        {
            const int k = sent.left - 1, j = train.neuron[k], S = p.S;
            p.costate(S - 1)[j] += sent.error[k];
            bool any = false;
            for (int i = 0; i < S; i++) any = any || p.costate(i)[j] != 0;
            if (!any) continue;
            double none = 0, costate[64];
            // the interval before the spike and the one after it move with its time
            train.sens[k] += p.arrive_back_one(0, j, 1.0, none, &sent.before[std::size_t(k) * S]);
            for (int i = 0; i < S; i++) costate[i] = p.costate(i)[j];
            p.back_one(sent.interval[k], j, costate, &sent.start[std::size_t(k) * S], false);
            for (int i = 0; i < S; i++) p.costate(i)[j] = costate[i];
        }
    }

    void finish(Train& train, SentSpikes& sent)
    {
        settle(train, sent, 0);
        p.back_end();
    }

    const int source, target;  // of the source, inputs count first

private:
    GeneralNeurons& p;
};

}  // namespace snn
