#include "adam.h"

extern "C" void snn_adam(double* __restrict value, const double* __restrict gradient, double* __restrict mean,
                         double* __restrict square, std::size_t n, double beta1, double beta2, double epsilon, double rate)
{
    const double rest1 = 1 - beta1, rest2 = 1 - beta2;
    for (std::size_t k = 0; k < n; k++)
    {
        const double g = gradient[k];
        const double m = mean[k]*beta1 + g*rest1;
        const double s = square[k]*beta2 + g*g*rest2;
        mean[k] = m;
        square[k] = s;
        value[k] -= m/(std::sqrt(s) + epsilon)*rate;
    }
}
