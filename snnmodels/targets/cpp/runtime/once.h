// What a program defines once, beside its models: for the file of its main function, and for no other.
#pragma once
#include "simulation.h"

// where no general.cpp is linked
__attribute__((weak)) std::unique_ptr<snn::Simulator> snn::make_simulator(const Network& net, std::vector<std::unique_ptr<Neurons>> neurons)
{
    return std::make_unique<EventSimulator>(net, std::move(neurons));
}

// where no sparse.cpp is linked
__attribute__((weak)) std::unique_ptr<snn::ComponentSimulator> snn::make_sparse(const Network&, std::vector<std::unique_ptr<Neurons>>&)
{
    return nullptr;
}

// here, so that no other file has all that is virtual, too
snn::Neurons::~Neurons() {}
snn::GeneralNeurons::~GeneralNeurons() {}

long snn::EventSimulator::late_ties(const Trial& trial)
{
    long found = 0;
    for (std::size_t c = 0; c < net.components.size(); c++)
        if (trial.tapes[c].scattered && sparse->long_(net.components[c])) found += sparse->meetings(trial, net.components[c]);
    return found;
}

template class snn::TimeSort<snn::Timed>;

void snn::SpikeSort::operator()(Train& train, int start, int S)
{
    const int n = train.size() - start;
    if (n < 2) return;
    bool sorted = true;
    for (int i = start + 1; i < start + n && sorted; i++)
        sorted = train.t[i - 1] < train.t[i] || (train.t[i - 1] == train.t[i] && train.neuron[i - 1] < train.neuron[i]);
    if (sorted) return;
    room(n, S);
    for (int i = 0; i < n; i++)
    {
        times[i] = train.t[start + i], neurons[i] = train.neuron[start + i];
        for (int m = 0; m < S; m++) before[m * stride + i] = train.before[std::size_t(start + i) * S + m];
    }
    train.shrink(start, S);
    append(train, n, S);
}

void snn::SpikeSort::append(Train& train, int n, int S)
{
    const int start = train.size();
    train.grow(n, S);
    find_places(n);
    for (int i = 0; i < n; i++)
    {
        const int to = start + place[i];
        train.t[to] = times[i], train.neuron[to] = neurons[i];
        for (int m = 0; m < S; m++) train.before[std::size_t(to) * S + m] = before[m * stride + i];
    }
}

void snn::SpikeSort::grow(std::size_t to, int S)
{
    std::vector<double> states(to * S);
    for (int m = 0; m < S; m++) std::copy_n(before.begin() + m * stride, stride, states.begin() + m * to);
    before.swap(states);
    times.resize(to), neurons.resize(to), place.resize(to), stride = to;
}

void snn::SpikeSort::find_places(int n)
{
    if (few(n)) return;
    order.resize(n);
    for (int i = 0; i < n; i++) order[i] = {times[i], neurons[i], i};
    by_time(order);
    for (int i = 0; i < n; i++) place[order[i].second] = i;
}

// Of a few: how many are before each, without branches that could not be guessed; false where two come at once
bool snn::SpikeSort::few(int n)
{
    if (n > 12 * LANES) return false;
    store8(&times[n], all(INF));
    int sum = 0;
    for (int i = 0; i < n; i++)
    {
        int earlier = 0;
        for (int j = 0; j < n; j += LANES) earlier += __builtin_popcount(bits_above(all(times[i]), load8(&times[j])));
        place[i] = earlier, sum += earlier;
    }
    return sum == n * (n - 1) / 2;
}
