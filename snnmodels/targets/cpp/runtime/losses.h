// The losses that training runs in the program, on one trial; snnmodels/losses/classification.py defines them.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include "network.h"

namespace snn {

struct TrialLoss { double value; int prediction; bool silent; };

// Cross-entropy on first spikes of n outputs: `constants` are tau0, tau1, alpha; `gradient` gets dL/dt of each first spike
inline TrialLoss ttfs(const Train& output, int n, std::int64_t label, int trials, const double* constants, double* gradient, double* first)
{
    const double tau0 = constants[0], tau1 = constants[1], alpha = constants[2];
    std::fill_n(first, n, INF), std::fill_n(gradient, n, 0.0);
    for (int k = 0; k < output.size(); k++) first[output.neuron[k]] = std::min(first[output.neuron[k]], output.t[k]);
    const double* earliest = std::min_element(first, first + n);
    const int prediction = *earliest < INF ? int(earliest - first) : -1;
    const double t = first[label];
    if (!(t < INF)) return {std::log(double(n)), prediction, true};
    double total = 0;
    for (int j = 0; j < n; j++) total += gradient[j] = std::exp((*earliest - first[j]) / tau0);
    const double early = std::expm1(t / tau1);
    for (int j = 0; j < n; j++) gradient[j] *= -1 / tau0 / total;
    gradient[label] += 1 / tau0 + alpha / tau1 * (early + 1);
    for (int j = 0; j < n; j++) gradient[j] /= trials;
    return {std::log(total) + (t - *earliest) / tau0 + alpha * early, prediction, false};
}

// Cross-entropy on maxima: `constants` are the scale
inline TrialLoss max_voltage(const std::vector<Peak>& peaks, int n, std::int64_t label, int trials, const double* constants, double* gradient)
{
    const double scale = constants[0];
    int best = 0;
    for (int j = 1; j < n; j++) if (peaks[j].value > peaks[best].value) best = j;
    double total = 0;
    for (int j = 0; j < n; j++) total += gradient[j] = std::exp((peaks[j].value - peaks[best].value) / scale);
    const double value = std::log(total) - (peaks[label].value - peaks[best].value) / scale;
    for (int j = 0; j < n; j++) gradient[j] = (gradient[j] / total - (j == label)) / (scale * trials);
    return {value, best, false};
}

}  // namespace snn
