#include "simulation.h"

std::unique_ptr<snn::Simulator> snn::make_simulator(const Network& net, std::vector<std::unique_ptr<Neurons>> neurons)
{
    return std::make_unique<EventSimulator>(net, std::move(neurons));
}

// where no sparse.cpp is linked
__attribute__((weak)) std::unique_ptr<snn::ComponentSimulator> snn::make_sparse(const Network&, std::vector<std::unique_ptr<Neurons>>&)
{
    return nullptr;
}

void snn::SpikeSort::operator()(Train& train, int start, int S)
{
    const int k = train.size() - start;
    if (k < 2) return;
    bool sorted = true;
    for (int i = start + 1; i < start + k && sorted; i++)
        sorted = train.t[i - 1] < train.t[i] || (train.t[i - 1] == train.t[i] && train.neuron[i - 1] < train.neuron[i]);
    if (sorted) return;
    place.resize(k);
    before.assign(train.before.begin() + std::size_t(start) * S, train.before.end());
    times.assign(train.t.begin() + start, train.t.end()), neurons.assign(train.neuron.begin() + start, train.neuron.end());
    if (!few(k))
    {
        order.resize(k);
        for (int i = 0; i < k; i++) order[i] = {times[i], neurons[i], i};
        by_time(order);
        for (int i = 0; i < k; i++) place[order[i].at] = i;
    }
    for (int i = 0; i < k; i++)
    {
        const int to = start + place[i];
        train.t[to] = times[i], train.neuron[to] = neurons[i];
        for (int m = 0; m < S; m++) train.before[std::size_t(to) * S + m] = before[std::size_t(i) * S + m];
    }
}

// Places of a few: how many are before each, without branches that could not be guessed; false where two come at once
bool snn::SpikeSort::few(int k)
{
    if (k > 12 * LANES) return false;
    times.resize(k + LANES, INF);
    int sum = 0;
    for (int i = 0; i < k; i++)
    {
        int earlier = 0;
        for (int j = 0; j < k; j += LANES) earlier += __builtin_popcount(bits_above(all(times[i]), load8(&times[j])));
        place[i] = earlier, sum += earlier;
    }
    return sum == k * (k - 1) / 2;
}
