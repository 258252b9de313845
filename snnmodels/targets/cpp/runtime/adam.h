// Adam (Kingma & Ba 2015, Algorithm 1) in one pass: the same operations on each number in the same order as NumPy does
// them. Compiled without fused multiply-adds, so that its results are NumPy's in every bit.
#pragma once
#include <cmath>
#include <cstddef>

#ifndef SNN_EITHER  // what is run on the device as well, where there is one; see cuda/runtime/device.cuh
#define SNN_EITHER
#endif

namespace snn {

constexpr double FADED = 1e-150, SMALLEST = 2.2250738585072014e-308;  // as in optimisers/adam.py

SNN_EITHER inline void adam_step(double& value, double g, double& mean, double& square, double beta1, double rest1, double beta2,
                                 double rest2, double epsilon, double rate)
{
    // What gradients have left long ago counts as nothing, by a step of less than FADED of the rate, before it is too small
    // for a processor to go on with at full speed
    const double m = mean*beta1 + g*rest1;
    const double s = square*beta2 + g*g*rest2;
    square = s < SMALLEST ? 0.0 : s;
    const double root = std::sqrt(square);
    const double least = FADED*root;
    mean = std::fabs(m) < (least < SMALLEST ? SMALLEST : least) ? 0.0 : m;
    value -= mean/(root + epsilon)*rate;
}

}  // namespace snn

extern "C" void snn_adam(double* __restrict value, const double* __restrict gradient, double* __restrict mean,
                         double* __restrict square, std::size_t n, double beta1, double beta2, double epsilon, double rate);
