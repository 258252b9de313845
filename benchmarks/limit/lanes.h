// Eight doubles at a time: by AVX-512 where the processor has it, else by the compiler's vector types alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>
#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && !defined(PORTABLE)
#define HAS_AVX512 1
#include <immintrin.h>
#else
#define HAS_AVX512 0
#endif

#define INLINE inline __attribute__((always_inline))

constexpr int LANES = 8;
typedef double V __attribute__((vector_size(LANES * sizeof(double))));
typedef std::int64_t L __attribute__((vector_size(LANES * sizeof(std::int64_t))));

INLINE V all(double x) { return V{x, x, x, x, x, x, x, x}; }
INLINE V load(const double* p) {
    V x;
    std::memcpy(&x, p, sizeof x);
    return x;
}
INLINE void store(double* p, V x) { std::memcpy(p, &x, sizeof x); }
INLINE V absolute(V x) { return (V)((L)x & INT64_MAX); }

// Which of the eight lanes. Integers that stand for masks are what the processor has, vectors what the compiler has.
#if HAS_AVX512
struct Mask {
    __mmask8 m;
    Mask operator&(Mask o) const { return {__mmask8(m & o.m)}; }
    Mask operator|(Mask o) const { return {__mmask8(m | o.m)}; }
    Mask operator~() const { return {__mmask8(~m)}; }
};
INLINE Mask first_lanes(int n) { return {__mmask8(n >= LANES ? 255 : (1 << n) - 1)}; }
INLINE Mask greater(V a, V b) { return {_mm512_cmp_pd_mask(__m512d(a), __m512d(b), _CMP_GT_OQ)}; }
INLINE Mask at_least(V a, V b) { return {_mm512_cmp_pd_mask(__m512d(a), __m512d(b), _CMP_GE_OQ)}; }
INLINE bool any(Mask m) { return m.m != 0; }
INLINE unsigned bits(Mask m) { return m.m; }
INLINE V pick(Mask m, V yes, V no) { return V(_mm512_mask_blend_pd(m.m, __m512d(no), __m512d(yes))); }
INLINE V larger(V a, V b) { return V(_mm512_max_pd(__m512d(a), __m512d(b))); }
INLINE V smaller(V a, V b) { return V(_mm512_min_pd(__m512d(a), __m512d(b))); }
INLINE V square_root(V a) { return V(_mm512_sqrt_pd(__m512d(a))); }
INLINE double sum(V a) { return _mm512_reduce_add_pd(__m512d(a)); }
// The chosen lanes side by side; may write up to eight.
INLINE void compress(double* to, Mask m, V x) { _mm512_storeu_pd(to, _mm512_maskz_compress_pd(m.m, __m512d(x))); }
INLINE void compress(int* to, Mask m, const int* from) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_maskz_compress_epi32(m.m, x));
}
INLINE void count_up(int* to, Mask m, int start) { // start, start + 1, ... of the chosen lanes
    const __m256i x = _mm256_add_epi32(_mm256_set1_epi32(start), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_maskz_compress_epi32(m.m, x));
}
// Masks of several vectors, and whether any lane of them is chosen.
template <int B> struct Marks {
    static_assert(B * LANES <= 32);
    unsigned m = 0;
    void set(int b, Mask x) { m |= unsigned(x.m) << LANES * b; }
    bool any() const { return m != 0; }
    Mask operator[](int b) const { return {__mmask8(m >> LANES * b)}; }
};
#else
struct Mask {
    L m;
    Mask operator&(Mask o) const { return {m & o.m}; }
    Mask operator|(Mask o) const { return {m | o.m}; }
    Mask operator~() const { return {~m}; }
};
INLINE Mask first_lanes(int n) { return {L{0, 1, 2, 3, 4, 5, 6, 7} < std::int64_t(n)}; }
INLINE Mask greater(V a, V b) { return {a > b}; }
INLINE Mask at_least(V a, V b) { return {a >= b}; }
INLINE bool any(Mask m) {
    std::int64_t x = 0;
    for (int k = 0; k < LANES; k++) x |= m.m[k];
    return x != 0;
}
INLINE unsigned bits(Mask m) {
    unsigned x = 0;
    for (int k = 0; k < LANES; k++) x |= unsigned(m.m[k] & 1) << k;
    return x;
}
INLINE V pick(Mask m, V yes, V no) { return m.m ? yes : no; }
INLINE V larger(V a, V b) { return a > b ? a : b; }
INLINE V smaller(V a, V b) { return a < b ? a : b; }
INLINE V square_root(V a) {
    for (int k = 0; k < LANES; k++) a[k] = std::sqrt(a[k]);
    return a;
}
INLINE double sum(V a) {
    double s = a[0];
    for (int k = 1; k < LANES; k++) s += a[k];
    return s;
}
INLINE void compress(double* to, Mask m, V x) {
    for (unsigned b = bits(m); b; b &= b - 1) *to++ = x[__builtin_ctz(b)];
}
INLINE void compress(int* to, Mask m, const int* from) {
    for (unsigned b = bits(m); b; b &= b - 1) *to++ = from[__builtin_ctz(b)];
}
INLINE void count_up(int* to, Mask m, int start) {
    for (unsigned b = bits(m); b; b &= b - 1) *to++ = start + __builtin_ctz(b);
}
template <int B> struct Marks {
    Mask m[B], some = first_lanes(0);
    void set(int b, Mask x) {
        m[b] = x;
        some = some | x;
    }
    bool any() const { return ::any(some); }
    Mask operator[](int b) const { return m[b]; }
};
#endif
INLINE int count(Mask m) { return __builtin_popcount(bits(m)); }

// exp to about one unit in the last place, for arguments whose result is a normal number: Taylor's series to order 13
// of what is left of x after a whole number of ln 2.
INLINE V exponential(V x) {
    constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
#if HAS_AVX512
    const V n = V(_mm512_roundscale_pd(__m512d(x * 1.4426950408889634), 8));
#else
    constexpr double shift = 6755399441055744.0; // 1.5 * 2^52: adding it rounds to an integer
    const V shifted = x * 1.4426950408889634 + shift, n = shifted - shift;
#endif
    const V r = x - n * ln2_high - n * ln2_low, r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    const V c0 = r + 1.0, c2 = r * (1 / 6.) + 1 / 2., c4 = r * (1 / 120.) + 1 / 24., c6 = r * (1 / 5040.) + 1 / 720.;
    const V c8 = r * (1 / 362880.) + 1 / 40320., c10 = r * (1 / 39916800.) + 1 / 3628800.;
    const V c12 = r * (1 / 6227020800.) + 1 / 479001600.;
    const V p = r8 * (r4 * c12 + (r2 * c10 + c8)) + (r4 * (r2 * c6 + c4) + (r2 * c2 + c0));
#if HAS_AVX512
    return V(_mm512_scalef_pd(__m512d(p), __m512d(n)));
#else
    return (V)((L)p + ((L)shifted << 52)); // the integer is in the lowest bits of the shifted number
#endif
}

// A matrix whose rows begin at whole vectors; the padding stays 0.
class Rows {
public:
    Rows(int rows, int columns)
        : rows(rows), columns(columns), width((columns + LANES - 1) / LANES * LANES),
          data(static_cast<double*>(::operator new(bytes(), std::align_val_t(64)))) {
        clear();
    }
    ~Rows() { ::operator delete(data, std::align_val_t(64)); }
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;

    double* operator[](int row) { return data + std::size_t(row) * width; }
    const double* operator[](int row) const { return data + std::size_t(row) * width; }
    std::size_t size() const { return std::size_t(rows) * width; }
    std::size_t bytes() const { return size() * sizeof(double); }
    void clear() { std::memset(static_cast<void*>(data), 0, bytes()); }
    void set(const double* from) {
        for (int i = 0; i < rows; i++)
            std::memcpy((*this)[i], from + std::size_t(i) * columns, columns * sizeof(double));
    }
    void get(double* to) {
        for (int i = 0; i < rows; i++)
            std::memcpy(to + std::size_t(i) * columns, (*this)[i], columns * sizeof(double));
    }

    const int rows, columns, width;

private:
    double* data;
};

// A growing array with room for one more vector than is asked for, so that whole vectors may be read and written.
template <class T> class Stack {
public:
    int size() const { return n; }
    void clear() { n = 0; }
    T* room(int more) { // where the next ones go
        const std::size_t wanted = std::size_t(n) + more + LANES;
        if (x.size() < wanted) x.resize(2 * wanted);
        return x.data() + n;
    }
    T* resize(int to) {
        n = 0;
        T* p = room(to);
        n = to;
        return p;
    }
    void grow(int by) { n += by; }
    void push(T y) {
        *room(1) = y;
        n++;
    }
    T& operator[](int k) { return x[k]; }
    const T& operator[](int k) const { return x[k]; }
    T* data() { return x.data(); }

private:
    std::vector<T> x = std::vector<T>(2 * LANES);
    int n = 0;
};
