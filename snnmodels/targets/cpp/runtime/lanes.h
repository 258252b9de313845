// Eight doubles at a time by the compiler's vector types, so that generated code compiles for a number and for lanes alike.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
// The compiler's own functions for one instruction where it has them: reading <immintrin.h> would be a tenth of a cold build.
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__has_builtin)
#if __has_builtin(__builtin_ia32_cvtq2mask512) && __has_builtin(__builtin_ia32_maxpd512_mask) && \
    __has_builtin(__builtin_ia32_minpd512_mask) && __has_builtin(__builtin_ia32_sqrtpd512_mask) && \
    __has_builtin(__builtin_ia32_compressdf512_mask) && __has_builtin(__builtin_ia32_compresssi256_mask) && \
    __has_builtin(__builtin_ia32_scalefpd512_mask) && __has_builtin(__builtin_ia32_cmppd512_mask)
#define SNN_AVX512 1
#endif
#endif

namespace snn {

#define SNN_LANES
constexpr int LANES = 8;
typedef double D8 __attribute__((vector_size(64)));
typedef std::int64_t I8 __attribute__((vector_size(64)));
typedef int N8 __attribute__((vector_size(32)));
constexpr double INF = std::numeric_limits<double>::infinity();

#define SNN_INLINE inline __attribute__((always_inline))
// what runs once for a set of values: short code, and soon compiled
#define SNN_COLD __attribute__((cold))
// what ladder.h, series.h and taylor.h have to say where a graphics card runs them; see cuda/runtime/lanes.h
#define SNN_DEVICE
#define SNN_TABLE inline constexpr
// short loops over what is to stay in registers
#define SNN_IN_REGISTERS _Pragma("GCC unroll 16")

SNN_INLINE D8 all(double x) { return D8{x, x, x, x, x, x, x, x}; }
template <class T> SNN_INLINE T as(double x);
template <> SNN_INLINE double as<double>(double x) { return x; }
template <> SNN_INLINE D8 as<D8>(double x) { return all(x); }
template <class T> SNN_INLINE T as(D8 x);
template <> SNN_INLINE D8 as<D8>(D8 x) { return x; }

SNN_INLINE D8 load8(const double* p) { D8 x; std::memcpy(&x, p, 64); return x; }
SNN_INLINE void store8(double* p, D8 x) { std::memcpy(p, &x, 64); }
template <class T> SNN_INLINE T load(const double* p);
template <> SNN_INLINE double load<double>(const double* p) { return *p; }
template <> SNN_INLINE D8 load<D8>(const double* p) { return load8(p); }
SNN_INLINE void store(double* p, double x) { *p = x; }
SNN_INLINE void store(double* p, D8 x) { store8(p, x); }

// one bit for every lane that is true
SNN_INLINE unsigned bits(I8 m)
{
#if defined(SNN_AVX512)
    typedef long long Q8 __attribute__((vector_size(64)));
    return (unsigned char)__builtin_ia32_cvtq2mask512((Q8)m);
#else
    unsigned b = 0;
    for (int l = 0; l < LANES; l++) b |= (m[l] != 0 ? 1u : 0u) << l;
    return b;
#endif
}
SNN_INLINE I8 lanes_below(int n) { const I8 number = {0, 1, 2, 3, 4, 5, 6, 7}; return number < n; }
// those of which a bit is set
SNN_INLINE I8 lanes_of(unsigned bits) { const I8 bit = {1, 2, 4, 8, 16, 32, 64, 128}; return (bit & std::int64_t(bits)) != 0; }
SNN_INLINE D8 pick(I8 m, D8 yes, D8 no) { return m ? yes : no; }
SNN_INLINE double pick(bool m, double yes, double no) { return m ? yes : no; }
// the second where one is not a number, as the comparison gives
#if defined(SNN_AVX512)
constexpr int ROUND_AS_SET = 4;  // _MM_FROUND_CUR_DIRECTION
SNN_INLINE D8 larger(D8 a, D8 b) { return __builtin_ia32_maxpd512_mask(a, b, D8{}, -1, ROUND_AS_SET); }
SNN_INLINE D8 smaller(D8 a, D8 b) { return __builtin_ia32_minpd512_mask(a, b, D8{}, -1, ROUND_AS_SET); }
#else
SNN_INLINE D8 larger(D8 a, D8 b) { return a > b ? a : b; }
SNN_INLINE D8 smaller(D8 a, D8 b) { return a < b ? a : b; }
#endif
SNN_INLINE double larger(double a, double b) { return a > b ? a : b; }
SNN_INLINE double smaller(double a, double b) { return a < b ? a : b; }
SNN_INLINE D8 absolute(D8 x) { return (D8)((I8)x & INT64_MAX); }
// whether none of n numbers is infinite or NaN
inline bool all_finite(const double* x, std::size_t n)
{
    D8 sum = all(0);
    std::size_t i = 0;
    for (; i + LANES <= n; i += LANES) sum += load8(x + i) * 0.0;
    double rest = 0;
    for (int l = 0; l < LANES; l++) rest += sum[l];
    for (; i < n; i++) rest += x[i] * 0.0;
    return rest == 0;
}
// of every lane where a > b: what bits() gives, by half of the instructions
#if defined(SNN_AVX512)
SNN_INLINE unsigned bits_above(D8 a, D8 b) { return (unsigned char)__builtin_ia32_cmppd512_mask(a, b, 30, -1, ROUND_AS_SET); }  // 30: _CMP_GT_OQ
#else
SNN_INLINE unsigned bits_above(D8 a, D8 b) { return bits(a > b); }
#endif
SNN_INLINE unsigned ones_below(int n) { return n < LANES ? (1u << n) - 1 : (1u << LANES) - 1; }  // n: not negative
// The lanes with a bit, side by side; writes eight, of which the rest mean nothing
#if defined(SNN_AVX512)
SNN_INLINE void squeeze(double* to, unsigned m, D8 x) { store8(to, __builtin_ia32_compressdf512_mask(x, D8{}, m)); }
SNN_INLINE void squeeze(int* to, unsigned m, N8 x)
{
    x = __builtin_ia32_compresssi256_mask(x, N8{}, m);
    std::memcpy(to, &x, 32);
}
#else
SNN_INLINE void squeeze(double* to, unsigned m, D8 x) { for (; m; m &= m - 1) *to++ = x[__builtin_ctz(m)]; }
SNN_INLINE void squeeze(int* to, unsigned m, N8 x) { for (; m; m &= m - 1) *to++ = x[__builtin_ctz(m)]; }
#endif
SNN_INLINE N8 load_ints(const int* p) { N8 x; std::memcpy(&x, p, 32); return x; }
SNN_INLINE void squeeze(int* to, unsigned m, const int* from) { squeeze(to, m, load_ints(from)); }
SNN_INLINE double total(double x) { return x; }
SNN_INLINE double total(D8 x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }

// exp: argument reduced by the nearest multiple of ln 2, then the series to the thirteenth order (error below 1 ulp and
// a half); beyond what a double holds it is held at the largest and at zero
SNN_INLINE D8 exp(D8 x)
{
    x = smaller(all(709.0), larger(all(-745.0), x));  // a NaN stays one
    const D8 magic = all(6755399441055744.0);
    const D8 shifted = x * 1.4426950408889634 + magic, n = shifted - magic;
    const D8 r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    const D8 r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    const D8 low = ((r * (1 / 5040.) + 1 / 720.) * r2 + (r * (1 / 120.) + 1 / 24.)) * r4 + ((r * (1 / 6.) + 0.5) * r2 + (r + 1.0));
    const D8 high = (r * (1 / 6227020800.) + 1 / 479001600.) * r4 + ((r * (1 / 39916800.) + 1 / 3628800.) * r2 + (r * (1 / 362880.) + 1 / 40320.));
    const D8 value = high * r8 + low;
#if defined(SNN_AVX512)
    return __builtin_ia32_scalefpd512_mask(value, n, D8{}, -1, ROUND_AS_SET);
#else
    // two halves of the power, so that subnormal results come out right
    const I8 power = (I8)shifted - (I8)magic, half = power >> 1, rest = power - half, bias = {1023, 1023, 1023, 1023, 1023, 1023, 1023, 1023};
    return value * (D8)((half + bias) << 52) * (D8)((rest + bias) << 52);
#endif
}
// of a number, by the same operations
SNN_INLINE double exp(double x)
{
    x = x < -745.0 ? -745.0 : x > 709.0 ? 709.0 : x;
    const double magic = 6755399441055744.0;
    double n = x * 1.4426950408889634 + magic;
    std::int64_t a, b;
    std::memcpy(&a, &n, 8), std::memcpy(&b, &magic, 8);
    const std::int64_t power = a - b;
    n = n - magic;
    const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    const double r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    const double low = ((r * (1 / 5040.) + 1 / 720.) * r2 + (r * (1 / 120.) + 1 / 24.)) * r4 + ((r * (1 / 6.) + 0.5) * r2 + (r + 1.0));
    const double high = (r * (1 / 6227020800.) + 1 / 479001600.) * r4 + ((r * (1 / 39916800.) + 1 / 3628800.) * r2 + (r * (1 / 362880.) + 1 / 40320.));
    const std::int64_t half = power >> 1, up = (half + 1023) << 52, rest = (power - half + 1023) << 52;
    double first, second;
    std::memcpy(&first, &up, 8), std::memcpy(&second, &rest, 8);
    return (high * r8 + low) * first * second;
}
SNN_INLINE D8 sqrt(D8 x)
{
#if defined(SNN_AVX512)
    return __builtin_ia32_sqrtpd512_mask(x, D8{}, -1, ROUND_AS_SET);
#else
    D8 y;
    for (int l = 0; l < LANES; l++) y[l] = std::sqrt(x[l]);
    return y;
#endif
}
SNN_INLINE double sqrt(double x) { return std::sqrt(x); }

// (exp(x) - 1)/x
inline double relative(double x) { return x == 0 ? 1.0 : std::expm1(x) / x; }

#define SNN_EACH(name, function) \
    inline double name(double x) { return function(x); } \
    inline D8 name(D8 x) { D8 y; for (int l = 0; l < LANES; l++) y[l] = function(x[l]); return y; }
SNN_EACH(log, std::log)
SNN_EACH(sin, std::sin)
SNN_EACH(cos, std::cos)
SNN_EACH(tan, std::tan)
SNN_EACH(sinh, std::sinh)
SNN_EACH(cosh, std::cosh)
SNN_EACH(tanh, std::tanh)
SNN_EACH(atan, std::atan)
SNN_EACH(exprel, relative)
#undef SNN_EACH
SNN_INLINE double is_positive(double x) { return x > 0 ? 1.0 : 0.0; }
SNN_INLINE D8 is_positive(D8 x) { return x > 0.0 ? all(1) : all(0); }
inline double pow(double x, double y) { return std::pow(x, y); }
inline D8 pow(D8 x, double y) { D8 z; for (int l = 0; l < LANES; l++) z[l] = std::pow(x[l], y); return z; }
inline D8 pow(D8 x, D8 y) { D8 z; for (int l = 0; l < LANES; l++) z[l] = std::pow(x[l], y[l]); return z; }
inline D8 pow(double x, D8 y) { D8 z; for (int l = 0; l < LANES; l++) z[l] = std::pow(x, y[l]); return z; }

}  // namespace snn
