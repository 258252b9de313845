// Four doubles of one neuron side by side, and eight neurons' of them as four vectors.
#pragma once

#include "../lanes.h"

typedef int Integers __attribute__((vector_size(LANES * sizeof(int))));
typedef double Quad __attribute__((vector_size(4 * sizeof(double))));

INLINE Quad load_quad(const double* p) {
    Quad x;
    std::memcpy(&x, p, sizeof x);
    return x;
}
INLINE void store_quad(double* p, Quad x) { std::memcpy(p, &x, sizeof x); }
INLINE Quad four(double x) { return Quad{x, x, x, x}; }
// x, but with its last element not below 0
INLINE Quad positive_last(double x) { return Quad{x, x, x, x > 0 ? x : 0}; }

INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }
template <class T> INLINE void prefetch(const std::vector<T>& x, int from, int to) {
    for (int k = from; k < to; k += 64 / int(sizeof(T))) prefetch(&x[k]);
}

#if HAS_AVX512
INLINE V gather(const double* p, const int* index) {
    return V(_mm512_i32gather_pd(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)), p, 8));
}
INLINE void scatter(double* p, Mask m, const int* index, V x) {
    _mm512_mask_i32scatter_pd(p, m.m, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)), __m512d(x), 8);
}
INLINE double lowest(V x) { return _mm512_reduce_min_pd(__m512d(x)); }
INLINE void to_vectors(__m512d s0, __m512d s1, __m512d s2, __m512d s3, V& a, V& b, V& c, V& d) {
    const __m512i i0 = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13), i1 = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
    const __m512d l0 = _mm512_permutex2var_pd(s0, i0, s1), l1 = _mm512_permutex2var_pd(s2, i0, s3);
    const __m512d h0 = _mm512_permutex2var_pd(s0, i1, s1), h1 = _mm512_permutex2var_pd(s2, i1, s3);
    a = V(_mm512_shuffle_f64x2(l0, l1, 0x44)), b = V(_mm512_shuffle_f64x2(l0, l1, 0xEE));
    c = V(_mm512_shuffle_f64x2(h0, h1, 0x44)), d = V(_mm512_shuffle_f64x2(h0, h1, 0xEE));
}
INLINE void to_vectors(const double* p, V& a, V& b, V& c, V& d) {
    to_vectors(__m512d(load(p)), __m512d(load(p + 8)), __m512d(load(p + 16)), __m512d(load(p + 24)), a, b, c, d);
}
INLINE void to_vectors(const double* const* p, V& a, V& b, V& c, V& d) { // quads at eight places
    const auto two = [&](int k) {
        return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(p[k])), _mm256_loadu_pd(p[k + 1]), 1);
    };
    to_vectors(two(0), two(2), two(4), two(6), a, b, c, d);
}
INLINE void to_quads(V a, V b, V c, V d, Quad (&to)[8]) {
    const __m512d p0 = _mm512_unpacklo_pd(__m512d(a), __m512d(b)), p1 = _mm512_unpackhi_pd(__m512d(a), __m512d(b));
    const __m512d q0 = _mm512_unpacklo_pd(__m512d(c), __m512d(d)), q1 = _mm512_unpackhi_pd(__m512d(c), __m512d(d));
    const __m512i x0 = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), x1 = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    const __m512d r0 = _mm512_permutex2var_pd(p0, x0, q0), r1 = _mm512_permutex2var_pd(p1, x0, q1);
    const __m512d r2 = _mm512_permutex2var_pd(p0, x1, q0), r3 = _mm512_permutex2var_pd(p1, x1, q1);
    to[0] = Quad(_mm512_castpd512_pd256(r0)), to[2] = Quad(_mm512_extractf64x4_pd(r0, 1));
    to[1] = Quad(_mm512_castpd512_pd256(r1)), to[3] = Quad(_mm512_extractf64x4_pd(r1, 1));
    to[4] = Quad(_mm512_castpd512_pd256(r2)), to[6] = Quad(_mm512_extractf64x4_pd(r2, 1));
    to[5] = Quad(_mm512_castpd512_pd256(r3)), to[7] = Quad(_mm512_extractf64x4_pd(r3, 1));
}
#else
INLINE V gather(const double* p, const int* index) {
    V x;
    for (int k = 0; k < LANES; k++) x[k] = p[index[k]];
    return x;
}
INLINE void scatter(double* p, Mask m, const int* index, V x) {
    for (unsigned b = bits(m); b; b &= b - 1) p[index[__builtin_ctz(b)]] = x[__builtin_ctz(b)];
}
INLINE double lowest(V x) {
    double y = x[0];
    for (int k = 1; k < LANES; k++) y = std::min(y, x[k]);
    return y;
}
INLINE void to_vectors(const double* const* p, V& a, V& b, V& c, V& d) {
    for (int k = 0; k < LANES; k++) a[k] = p[k][0], b[k] = p[k][1], c[k] = p[k][2], d[k] = p[k][3];
}
INLINE void to_vectors(const double* p, V& a, V& b, V& c, V& d) {
    for (int k = 0; k < LANES; k++) a[k] = p[4 * k], b[k] = p[4 * k + 1], c[k] = p[4 * k + 2], d[k] = p[4 * k + 3];
}
INLINE void to_quads(V a, V b, V c, V d, Quad (&to)[8]) {
    for (int k = 0; k < LANES; k++) to[k] = Quad{a[k], b[k], c[k], d[k]};
}
#endif
INLINE void to_quads(V a, V b, V c, V d, double* to) {
    Quad q[8];
    to_quads(a, b, c, d, q);
    for (int k = 0; k < LANES; k++) store_quad(to + 4 * k, q[k]);
}
