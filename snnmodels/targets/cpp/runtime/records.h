// Records of four or eight doubles, one for each neuron, and eight of them as vectors: what scattered arrivals add to is
// side by side in memory, what a pass over all neurons computes with is in lanes.
#pragma once
#include "lanes.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace snn {

typedef double D4 __attribute__((vector_size(32)));

template <int V> struct Records;

template <> struct Records<4>
{
    typedef D4 One;
    static SNN_INLINE One load(const double* p) { One x; std::memcpy(&x, p, sizeof x); return x; }
    static SNN_INLINE void store(double* p, One x) { std::memcpy(p, &x, sizeof x); }
    static SNN_INLINE One all(double x) { return One{x, x, x, x}; }
    // w up where w is positive, else w down; and the sign of the last one: what the compiler makes of these costs a third of a row
#if defined(__AVX2__)
    static SNN_INLINE One times(double w, One up, One down) { return all(w) * (One)_mm256_blendv_pd((__m256d)up, (__m256d)down, (__m256d)all(w)); }
    static SNN_INLINE int last_is_negative(One x) { return _mm256_movemask_pd((__m256d)x) >> 3; }
#else
    static SNN_INLINE One times(double w, One up, One down) { return all(w) * (w > 0 ? up : down); }
    static SNN_INLINE int last_is_negative(One x) { return std::signbit(x[3]); }
#endif
#if defined(__AVX512F__) && defined(__AVX512DQ__)
    static SNN_INLINE void lanes(const double* p, D8* to)
    {
        const __m512i i0 = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13), i1 = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
        const __m512d s0 = _mm512_loadu_pd(p), s1 = _mm512_loadu_pd(p + 8), s2 = _mm512_loadu_pd(p + 16), s3 = _mm512_loadu_pd(p + 24);
        const __m512d l0 = _mm512_permutex2var_pd(s0, i0, s1), l1 = _mm512_permutex2var_pd(s2, i0, s3);
        const __m512d h0 = _mm512_permutex2var_pd(s0, i1, s1), h1 = _mm512_permutex2var_pd(s2, i1, s3);
        to[0] = (D8)_mm512_shuffle_f64x2(l0, l1, 0x44), to[1] = (D8)_mm512_shuffle_f64x2(l0, l1, 0xEE);
        to[2] = (D8)_mm512_shuffle_f64x2(h0, h1, 0x44), to[3] = (D8)_mm512_shuffle_f64x2(h0, h1, 0xEE);
    }
    static SNN_INLINE void records(const D8* from, double* p)
    {
        const __m512d p0 = _mm512_unpacklo_pd((__m512d)from[0], (__m512d)from[1]), p1 = _mm512_unpackhi_pd((__m512d)from[0], (__m512d)from[1]);
        const __m512d q0 = _mm512_unpacklo_pd((__m512d)from[2], (__m512d)from[3]), q1 = _mm512_unpackhi_pd((__m512d)from[2], (__m512d)from[3]);
        const __m512i x0 = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), x1 = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
        const __m512d r0 = _mm512_permutex2var_pd(p0, x0, q0), r1 = _mm512_permutex2var_pd(p1, x0, q1);
        const __m512d r2 = _mm512_permutex2var_pd(p0, x1, q0), r3 = _mm512_permutex2var_pd(p1, x1, q1);
        _mm512_storeu_pd(p, _mm512_shuffle_f64x2(r0, r1, 0x44)), _mm512_storeu_pd(p + 8, _mm512_shuffle_f64x2(r0, r1, 0xEE));
        _mm512_storeu_pd(p + 16, _mm512_shuffle_f64x2(r2, r3, 0x44)), _mm512_storeu_pd(p + 24, _mm512_shuffle_f64x2(r2, r3, 0xEE));
    }
#else
    static SNN_INLINE void lanes(const double* p, D8* to) { for (int i = 0; i < 4; i++) for (int l = 0; l < LANES; l++) to[i][l] = p[4 * l + i]; }
    static SNN_INLINE void records(const D8* from, double* p) { for (int i = 0; i < 4; i++) for (int l = 0; l < LANES; l++) p[4 * l + i] = from[i][l]; }
#endif
};

template <> struct Records<8>
{
    typedef D8 One;
    static SNN_INLINE One load(const double* p) { return load8(p); }
    static SNN_INLINE void store(double* p, One x) { store8(p, x); }
    static SNN_INLINE One all(double x) { return snn::all(x); }
    static SNN_INLINE One times(double w, One up, One down) { return all(w) * (w > 0 ? up : down); }
    static SNN_INLINE int last_is_negative(One x) { return std::signbit(x[7]); }
    static SNN_INLINE void lanes(const double* p, D8* to) { for (int i = 0; i < 8; i++) for (int l = 0; l < LANES; l++) to[i][l] = p[8 * l + i]; }
    static SNN_INLINE void records(const D8* from, double* p) { for (int i = 0; i < 8; i++) for (int l = 0; l < LANES; l++) p[8 * l + i] = from[i][l]; }
};

// The first m of eight lanes from and to memory, and from several places; the others are 0
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
SNN_INLINE D8 load_some(const double* p, int m) { return (D8)_mm512_maskz_loadu_pd(__mmask8((1u << m) - 1), p); }
SNN_INLINE void store_some(double* p, D8 x, int m) { _mm512_mask_storeu_pd(p, __mmask8((1u << m) - 1), (__m512d)x); }
SNN_INLINE I8 load_some(const int* p, int m) { return (I8)_mm512_cvtepi32_epi64(_mm256_maskz_loadu_epi32(__mmask8((1u << m) - 1), p)); }
SNN_INLINE void store_ints(int* p, I8 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi64_epi32((__m512i)x)); }
SNN_INLINE D8 gather8(const double* p, I8 at) { return (D8)_mm512_i64gather_pd((__m512i)at, p, 8); }
#else
SNN_INLINE D8 load_some(const double* p, int m) { D8 x = all(0); for (int l = 0; l < m; l++) x[l] = p[l]; return x; }
SNN_INLINE void store_some(double* p, D8 x, int m) { for (int l = 0; l < m; l++) p[l] = x[l]; }
SNN_INLINE I8 load_some(const int* p, int m) { I8 x = {0}; for (int l = 0; l < m; l++) x[l] = p[l]; return x; }
SNN_INLINE void store_ints(int* p, I8 x) { for (int l = 0; l < LANES; l++) p[l] = int(x[l]); }
SNN_INLINE D8 gather8(const double* p, I8 at) { D8 x; for (int l = 0; l < LANES; l++) x[l] = p[at[l]]; return x; }
#endif
// in line, for the compiler takes a function that does nothing else for one without effect
SNN_INLINE void prefetch_lines(const void* from, std::size_t bytes)
{
    for (std::size_t k = 0; k < bytes; k += 64) __builtin_prefetch(static_cast<const char*>(from) + k, 0, 3);
}
SNN_INLINE double largest(D8 x) { double y = x[0]; for (int l = 1; l < LANES; l++) y = x[l] > y ? x[l] : y; return y; }
SNN_INLINE double smallest(D8 x) { double y = x[0]; for (int l = 1; l < LANES; l++) y = x[l] < y ? x[l] : y; return y; }

}  // namespace snn
