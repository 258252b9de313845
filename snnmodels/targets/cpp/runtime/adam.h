// Adam (Kingma & Ba 2015, Algorithm 1) in one pass: the same operations on each number in the same order as NumPy does
// them. Compiled without fused multiply-adds, so that its results are NumPy's in every bit.
#pragma once
#include <cmath>
#include <cstddef>

extern "C" void snn_adam(double* __restrict value, const double* __restrict gradient, double* __restrict mean,
                         double* __restrict square, std::size_t n, double beta1, double beta2, double epsilon, double rate);
