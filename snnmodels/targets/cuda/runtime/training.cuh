// What a program does between the batches that it trains on: the loss of each trial, and the steps of Adam.
#pragma once
#include "adam.h"
#include "losses.h"
#include "network.cuh"

namespace snn {

enum LossKind { FIRST_SPIKES, MAXIMA };  // as classification.py numbers them
struct Constants { double of[4]; };

// The loss of every trial by one thread, and its derivatives by what it reads: arrays (trials, n of the read-out)
__global__ void losses(Network net, int kind, Constants constants, const std::int64_t* labels, double* read, double* error, TrialLoss* found)
{
    const int b = blockIdx.x * blockDim.x + threadIdx.x;
    if (b >= net.trials) return;
    const int n = net.population[net.readout].n;
    const double* seen = net.maxima_values + std::int64_t(b) * n;
    double* to = error + std::int64_t(b) * n;
    if (kind == MAXIMA)
    {
        found[b] = max_voltage(seen, n, labels[b], net.trials, constants.of, to);
        return;
    }
    double* first = read + std::int64_t(b) * n;
    for (int j = 0; j < n; j++) first[j] = INF;
    const Train& train = net.train[net.inputs + net.readout];
    for (int i = 0; i < train.count[b]; i++)
    {
        const std::int64_t at = std::int64_t(b) * train.room + i;
        if (train.place[at] == 0) first[train.neuron[at]] = train.t[at];
    }
    found[b] = ttfs(first, n, labels[b], net.trials, constants.of, to);
}

struct AdamStep { double beta1, beta2, epsilon, rate; };

// The sums of all chunks, in order, and with each the step of its weight; `bad`: the first that is no number
__global__ void adam(const double* parts, std::int64_t n, int chunks, AdamStep step, double* value, double* mean, double* square, unsigned long long* bad)
{
    const std::int64_t i = std::int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double sum = 0;
    for (int c = 0; c < chunks; c++) sum += parts[c * n + i];
    if (!std::isfinite(sum)) { atomicMin(bad, (unsigned long long)i); return; }
    adam_step(value[i], sum, mean[i], square[i], step.beta1, 1 - step.beta1, step.beta2, 1 - step.beta2, step.epsilon, step.rate);
}

}  // namespace snn
