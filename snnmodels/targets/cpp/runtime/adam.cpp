#include "adam.h"

extern "C" void snn_adam(double* __restrict value, const double* __restrict gradient, double* __restrict mean,
                         double* __restrict square, std::size_t n, double beta1, double beta2, double epsilon, double rate)
{
    const double rest1 = 1 - beta1, rest2 = 1 - beta2;
    for (std::size_t k = 0; k < n; k++)
        snn::adam_step(value[k], gradient[k], mean[k], square[k], beta1, rest1, beta2, rest2, epsilon, rate);
}
