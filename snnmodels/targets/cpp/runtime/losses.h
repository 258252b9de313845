// The losses that programs run themselves, on one trial; snnmodels/losses/classification.py defines them.
#pragma once
#include <cmath>
#include <cstdint>

#ifndef SNN_EITHER  // what is run on the device as well, where there is one; see cuda/runtime/device.cuh
#define SNN_EITHER
#endif

namespace snn {

struct TrialLoss { double value; int prediction; bool silent; };

// Cross-entropy on first spikes of n outputs, infinity where there is none: `constants` are tau0, tau1, alpha; `gradient` gets
// dL/dt of each
SNN_EITHER inline TrialLoss ttfs(const double* first, int n, std::int64_t label, int trials, const double* constants, double* gradient)
{
    const double tau0 = constants[0], tau1 = constants[1], alpha = constants[2];
    const double* earliest = first;
    for (int j = 0; j < n; j++)
    {
        gradient[j] = 0;
        if (first[j] < *earliest) earliest = first + j;
    }
    const int prediction = std::isfinite(*earliest) ? int(earliest - first) : -1;
    const double t = first[label];
    if (!std::isfinite(t)) return {std::log(double(n)), prediction, true};
    double total = 0;
    for (int j = 0; j < n; j++) total += gradient[j] = std::exp((*earliest - first[j]) / tau0);
    const double early = std::expm1(t / tau1);
    for (int j = 0; j < n; j++) gradient[j] *= -1 / tau0 / total;
    gradient[label] += 1 / tau0 + alpha / tau1 * (early + 1);
    for (int j = 0; j < n; j++) gradient[j] /= trials;
    return {std::log(total) + (t - *earliest) / tau0 + alpha * early, prediction, false};
}

// Cross-entropy on maxima: `constants` are the scale
SNN_EITHER inline TrialLoss max_voltage(const double* maxima, int n, std::int64_t label, int trials, const double* constants, double* gradient)
{
    const double scale = constants[0];
    int best = 0;
    for (int j = 1; j < n; j++) if (maxima[j] > maxima[best]) best = j;
    double total = 0;
    for (int j = 0; j < n; j++) total += gradient[j] = std::exp((maxima[j] - maxima[best]) / scale);
    const double value = std::log(total) - (maxima[label] - maxima[best]) / scale;
    for (int j = 0; j < n; j++) gradient[j] = (gradient[j] / total - (j == label)) / (scale * trials);
    return {value, best, false};
}

}  // namespace snn
