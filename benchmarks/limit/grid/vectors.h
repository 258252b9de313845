// Rows of doubles padded to whole vectors, and the few operations on vectors that the loops need.
#pragma once

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

constexpr int LANES = 8;   // doubles in a vector
constexpr int VECTORS = 4; // vectors in a block: the threshold is tested once for 32 neurons
typedef double V __attribute__((vector_size(LANES * sizeof(double))));

inline V larger(V a, V b) { return a > b ? a : b; }

// Bit k is set where element k is above the bound.
inline unsigned above(V a, double bound) {
#ifdef __AVX512F__
    return _mm512_cmp_pd_mask(__m512d(a), _mm512_set1_pd(bound), _CMP_GT_OQ);
#else
    unsigned bits = 0;
    for (int k = 0; k < LANES; k++) bits |= unsigned(a[k] > bound) << k;
    return bits;
#endif
}

inline double sum(V a) {
    double s = a[0];
    for (int k = 1; k < LANES; k++) s += a[k];
    return s;
}

// A matrix whose rows begin at whole vectors; the padding stays 0.
class Rows {
public:
    Rows(int rows, int columns) : rows(rows), vectors((columns + LANES - 1) / LANES), columns(columns) {
        data = static_cast<V*>(::operator new(bytes(), std::align_val_t(64)));
        clear();
    }
    ~Rows() { ::operator delete(data, std::align_val_t(64)); }
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;

    V* operator[](int row) { return data + std::size_t(row) * vectors; }
    double* at(int row) { return reinterpret_cast<double*>((*this)[row]); }
    std::size_t bytes() const { return std::size_t(rows) * vectors * sizeof(V); }
    std::size_t size() const { return std::size_t(rows) * vectors * LANES; }
    void clear() { std::memset(static_cast<void*>(data), 0, bytes()); }
    void swap(Rows& other) { std::swap(data, other.data); }
    void set(const double* from) {
        for (int i = 0; i < rows; i++) std::memcpy(at(i), from + std::size_t(i) * columns, columns * sizeof(double));
    }
    void get(double* to) {
        for (int i = 0; i < rows; i++) std::memcpy(to + std::size_t(i) * columns, at(i), columns * sizeof(double));
    }

    const int rows, vectors, columns;

private:
    V* data;
};
