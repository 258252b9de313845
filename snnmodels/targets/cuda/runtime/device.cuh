// What generated rules call, as functions of the device, and sums and minima over a block.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <tuple>
#include <utility>

#define SNN_INLINE __device__ __forceinline__
#define SNN_DEVICE __device__
#define SNN_EITHER __host__ __device__
#define SNN_APART __device__ __attribute__((noinline))
#define SNN_TABLE static __device__ const
#define SNN_IN_REGISTERS _Pragma("unroll")

namespace snn {

constexpr double INF = std::numeric_limits<double>::infinity();
// Threads of a block. A trial's sums are over these, so their number is part of the result.
constexpr int THREADS = 128, WARPS = THREADS / 32;

template <class T> SNN_INLINE T as(double x) { return x; }
SNN_INLINE double exp(double x) { return ::exp(x); }
SNN_INLINE double sqrt(double x) { return ::sqrt(x); }
#ifdef SNN_REAL  // the arithmetic of rules: -DSNN_REAL=float among the words of NVCC, see docs/cuda.md
SNN_INLINE float exp(float x) { return ::expf(x); }
SNN_INLINE float sqrt(float x) { return ::sqrtf(x); }
#endif
SNN_INLINE double log(double x) { return ::log(x); }
SNN_INLINE double sin(double x) { return ::sin(x); }
SNN_INLINE double cos(double x) { return ::cos(x); }
SNN_INLINE double tan(double x) { return ::tan(x); }
SNN_INLINE double sinh(double x) { return ::sinh(x); }
SNN_INLINE double cosh(double x) { return ::cosh(x); }
SNN_INLINE double tanh(double x) { return ::tanh(x); }
SNN_INLINE double atan(double x) { return ::atan(x); }
SNN_INLINE double pow(double x, double y) { return ::pow(x, y); }
SNN_INLINE double exprel(double x) { return x == 0 ? 1.0 : ::expm1(x) / x; }
SNN_INLINE double is_positive(double x) { return x > 0 ? 1.0 : 0.0; }

// unlike fmax and fmin they hand on what is no number
SNN_INLINE double larger(double a, double b) { return a > b || a != a ? a : b; }
SNN_INLINE double smaller(double a, double b) { return a < b || a != a ? a : b; }

// Work space of a block in shared memory
struct Block
{
    double real[16 * WARPS], other[16 * WARPS];
    unsigned long long failure;  // the least of what threads say of failures; see Forward::fail
    int pieces, arrivals, instants, owns, releases, knots, raw, full, ties;
};

// The smallest of a number of every thread, known to all of them; no NaN
__device__ inline double block_min(double x, Block& s)
{
    for (int d = 16; d > 0; d >>= 1) x = fmin(x, __shfl_xor_sync(0xffffffffu, x, d));
    if (threadIdx.x % 32 == 0) s.real[threadIdx.x / 32] = x;
    __syncthreads();
    x = s.real[0];
    for (int w = 1; w < WARPS; w++) x = fmin(x, s.real[w]);
    __syncthreads();
    return x;
}

// Sum over a warp, always in the same order; known to its first thread
SNN_INLINE double warp_sum(double x)
{
    for (int d = 16; d > 0; d >>= 1) x += __shfl_down_sync(0xffffffffu, x, d);
    return x;
}

}  // namespace snn
