// Operations on Taylor series, and the functions they start from, for a double or for eight of them at once; the former on a
// graphics card, too.
//
// A series is an array of coefficients. Every operation gives coefficient k from coefficients <= k of its arguments and
// < k of its own; its adjoint takes the cotangent w of coefficient k and adds to those of coefficients <= k. A function
// phi needs no recursion through itself backward: u_j gets w times coefficient k - j of the series of phi'.
#pragma once
#include "lanes.h"

#ifndef SNN_APART
#define SNN_APART inline __attribute__((noinline))
#endif
#ifndef SNN_UNROLL
#define SNN_UNROLL
#endif

namespace snn {

// What belongs to a lane type: how many lanes, and the type of a mask (0: no, anything else: yes).
template <class T> struct Lane;
template <> struct Lane<double> { using Mask = std::int64_t; static constexpr int count = 1; };
#ifdef SNN_LANES
template <> struct Lane<D8> { using Mask = I8; static constexpr int count = LANES; };
#endif
template <class T> using Mask = typename Lane<T>::Mask;

SNN_INLINE double lane(double x, int) { return x; }
SNN_INLINE std::int64_t lane(std::int64_t x, int) { return x; }
SNN_INLINE void put(double& x, int, double value) { x = value; }
SNN_INLINE void put(std::int64_t& x, int, std::int64_t value) { x = value; }
SNN_INLINE bool any(std::int64_t m) { return m != 0; }
template <class T> SNN_INLINE T magnitude(T x) { return x < 0.0 ? -x : x; }
#ifdef SNN_LANES
SNN_INLINE double lane(const D8& x, int l) { return x[l]; }
SNN_INLINE std::int64_t lane(const I8& x, int l) { return x[l]; }
SNN_INLINE void put(D8& x, int l, double value) { x[l] = value; }
SNN_INLINE void put(I8& x, int l, std::int64_t value) { x[l] = value; }
SNN_INLINE bool any(I8 m) { return bits(m != 0) != 0; }
SNN_INLINE D8 magnitude(D8 x) { return absolute(x); }
#endif

// ---- values of functions by exp(-|u|), which never overflows
SNN_INLINE double log1p_(double x) { return std::log1p(x); }
#ifdef SNN_LANES
inline D8 log1p_(D8 x) { for (int l = 0; l < LANES; l++) x[l] = std::log1p(x[l]); return x; }
#endif
template <class T> SNN_INLINE T tanh_(T u) {
    const T e = exp(-2.0 * magnitude(u)), t = (1.0 - e) / (1.0 + e);
    return u < 0.0 ? -t : t;
}
template <class T> SNN_INLINE T logistic_(T u) {
    const T e = exp(-magnitude(u)), s = 1.0 / (1.0 + e);
    return u < 0.0 ? e * s : s;
}
template <class T> SNN_INLINE T softplus_(T u) { return larger(u, T{}) + log1p_(exp(-magnitude(u))); }

// ---- coefficient k of a series. Sums end with the terms that were computed last, so that the others can run ahead.
SNN_TABLE double inverse[] = {0,       1.0,      1.0 / 2,  1.0 / 3,  1.0 / 4,  1.0 / 5,  1.0 / 6,  1.0 / 7,  1.0 / 8,
                              1.0 / 9, 1.0 / 10, 1.0 / 11, 1.0 / 12, 1.0 / 13, 1.0 / 14, 1.0 / 15, 1.0 / 16, 1.0 / 17};
// sum of a_i b_{k-i}, 0 < i < k
template <class T> SNN_INLINE T inner(const T* a, const T* b, int k) {
    T s = T{};
    SNN_UNROLL
    for (int i = 1; i < k; i++) s = s + a[i] * b[k - i];
    return s;
}
template <class T> SNN_INLINE T product(const T* a, const T* b, int k) {
    if (k == 0) return a[0] * b[0];
    return inner(a, b, k) + a[k] * b[0] + a[0] * b[k];
}
template <class T> SNN_INLINE T square(const T* a, int k) {
    if (k == 0) return a[0] * a[0];
    T s = T{};
    SNN_UNROLL
    for (int i = 1; 2 * i < k; i++) s = s + a[i] * a[k - i];
    if (k % 2 == 0) s = s + 0.5 * a[k / 2] * a[k / 2];
    return 2.0 * (s + a[0] * a[k]);
}
template <class T> SNN_INLINE T quotient(const T* a, const T* b, const T* q, int k) {
    if (k == 0) return a[0] / b[0];
    return (a[k] - inner(b, q, k) - b[k] * q[0]) / b[0];
}
template <class T> SNN_INLINE T reciprocal(const T* b, const T* q, int k) {
    if (k == 0) return 1.0 / b[0];
    return -(inner(b, q, k) + b[k] * q[0]) * q[0];
}
// the chain rule, k phi_k = sum_i i u_i phi'_{k-i}, for k >= 1
template <class T> SNN_INLINE T chain(const T* u, const T* derivative, int k) {
    T s = T{};
    SNN_UNROLL
    for (int i = 2; i < k; i++) s = s + (u[i] * double(i)) * derivative[k - i];
    s = s * inverse[k];
    if (k > 1) s = s + (u[1] * inverse[k]) * derivative[k - 1];
    return s + u[k] * derivative[0];
}
template <class T> SNN_INLINE T power(const T* u, const T* y, double exponent, int k) {
    if (k == 0) {
        if (exponent == 0.5) return sqrt(u[0]);
        return pow(u[0], exponent);
    }
    T s = T{};
    SNN_UNROLL
    for (int i = 1; i <= k; i++) s = s + (u[i] * ((exponent + 1) * i - k)) * y[k - i];
    return s / (u[0] * double(k));
}
template <class T> SNN_INLINE T exponential(const T* u, const T* e, int k) { return k == 0 ? exp(u[0]) : chain(u, e, k); }
// functions whose derivative follows from their value: d is its series
template <class T> SNN_INLINE void tangent(const T* u, T* y, T* d, int k) {
    y[k] = k == 0 ? tan(u[0]) : chain(u, d, k);
    d[k] = k == 0 ? 1.0 + square(y, 0) : square(y, k);
}
template <class T> SNN_INLINE void hyperbolic_tangent(const T* u, T* y, T* d, int k) {
    y[k] = k == 0 ? tanh_(u[0]) : chain(u, d, k);
    d[k] = k == 0 ? 1.0 - square(y, 0) : -square(y, k);
}
template <class T> SNN_INLINE void logistic(const T* u, T* y, T* d, int k) {
    y[k] = k == 0 ? logistic_(u[0]) : chain(u, d, k);
    d[k] = y[k] - square(y, k);
}
template <class T> SNN_INLINE void sine_cosine(const T* u, T* s, T* c, int k) {
    s[k] = k == 0 ? sin(u[0]) : chain(u, c, k);
    c[k] = k == 0 ? cos(u[0]) : -chain(u, s, k);
}
template <class T> SNN_INLINE void hyperbolic_sine_cosine(const T* u, T* s, T* c, int k) {
    const T a = k == 0 ? sinh(u[0]) : chain(u, c, k), b = k == 0 ? cosh(u[0]) : chain(u, s, k);
    s[k] = a;
    c[k] = b;
}

// ---- u/(exp(u) - 1). By division, except near u = 0, where that loses the digits: there by its own Taylor series about
// u_0, from that about 0 (Bernoulli numbers), and Horner's scheme in series of u - u_0.
constexpr double bernoulli_near = 0.3;
constexpr int bernoulli_terms = 30;
constexpr double bernoulli_about_zero[] = {
    1.0, -0.5,
    0.08333333333333333, 0, -0.001388888888888889, 0, 3.306878306878307e-05, 0, -8.267195767195768e-07, 0,
    2.08767569878681e-08, 0, -5.284190138687493e-10, 0, 1.3382536530684679e-11, 0, -3.3896802963225827e-13, 0,
    8.586062056277845e-15, 0, -2.174868698558062e-16, 0, 5.5090028283602295e-18, 0, -1.3954464685812522e-19, 0,
    3.534707039629467e-21, 0, -8.953517427037546e-23, 0, 2.267952452337683e-24};
// what the m-th of them contributes to coefficient n about u, over u^(m-n); of the derivative, if shift is 1
struct BernoulliWeights {
    double of[2][18][bernoulli_terms + 1] = {};
    constexpr BernoulliWeights() {
        for (int shift = 0; shift < 2; shift++)
            for (int n = 0; n < 18; n++) {
                double choose = 1.0;  // m over n
                for (int m = n; m + shift <= bernoulli_terms; m++) {
                    of[shift][n][m] = bernoulli_about_zero[m + shift] * choose * (shift ? m + 1 : 1);
                    choose = choose * (m + 1) / (m + 1 - n);
                }
            }
    }
};
SNN_TABLE BernoulliWeights bernoulli_weights{};
template <class T> SNN_APART void bernoulli_about(T u, int order, int shift, T* d) {
    for (int n = 0; n <= order; n++) {
        const double* w = bernoulli_weights.of[shift][n];
        int m = n + 16 < bernoulli_terms - shift ? n + 16 : bernoulli_terms - shift;
        T s = as<T>(w[m]);
        for (m--; m >= n; m--) s = s * u + w[m];
        d[n] = s;
    }
}
// coefficient k of the series with coefficients d about u_0
template <class T> SNN_APART T composed(const T* u, const T* d, int k) {
    T s[32];
    s[0] = d[k];
    for (int n = k - 1; n >= 0; n--) {  // s = d_n + (u - u_0) s, to degree k - n
        for (int j = k - n; j >= 1; j--) {
            T t = u[1] * s[j - 1];
            for (int i = 2; i <= j; i++) t = t + u[i] * s[j - i];
            s[j] = t;
        }
        s[0] = d[n];
    }
    return s[k];
}
// y: the function, e: exp(u), d: room
template <class T> SNN_INLINE void bernoulli(const T* u, T* y, T* e, T* d, int k, int order) {
    e[k] = exponential(u, e, k);
    const Mask<T> near = magnitude(u[0]) < bernoulli_near;
    T s = u[k];
    if (k > 0) s = s - inner(e, y, k) - e[k] * y[0];
    y[k] = s / (e[0] - 1.0);
    if (any(near)) {
        if (k == 0) bernoulli_about(u[0], order, 0, d);
        y[k] = near ? composed(u, d, k) : y[k];
    }
}
// n coefficients of its derivative: (exp(u) - 1) y' = 1 - y exp(u)
template <class T> SNN_APART void bernoulli_derivative(const T* u, const T* y, const T* e, T* d, int n) {
    const Mask<T> near = magnitude(u[0]) < bernoulli_near;
    const bool some = any(near);
    T about[18];
    if (some) bernoulli_about(u[0], n - 1, 1, about);
    for (int k = 0; k < n; k++) {
        T s = -product(y, e, k);
        if (k == 0) s = s + 1.0;
        for (int i = 1; i <= k; i++) s = s - e[i] * d[k - i];
        d[k] = s / (e[0] - 1.0);
        if (some) d[k] = near ? composed(u, about, k) : d[k];
    }
}
// n coefficients of the derivative of u^exponent, y' = exponent y/u
template <class T> SNN_APART void power_derivative(const T* u, const T* y, double exponent, T* d, int n) {
    for (int k = 0; k < n; k++) {
        T s = y[k] * exponent;
        for (int i = 1; i <= k; i++) s = s - u[i] * d[k - i];
        d[k] = s / u[0];
    }
}

// ---- adjoints; capitals are cotangents
template <class T> SNN_INLINE void product_back(const T* a, const T* b, T* A, T* B, T w, int k) {
    SNN_UNROLL
    for (int i = 0; i <= k; i++) {
        A[i] = A[i] + b[k - i] * w;
        B[k - i] = B[k - i] + a[i] * w;
    }
}
template <class T> SNN_INLINE void chain_back(const T* derivative, T* U, T w, int k) {
    SNN_UNROLL
    for (int j = 0; j <= k; j++) U[j] = U[j] + derivative[k - j] * w;
}
template <class T> SNN_INLINE void square_back(const T* a, T* A, T w, int k) { chain_back(a, A, w + w, k); }
// q = a/b; A is null for a reciprocal
template <class T> SNN_INLINE void quotient_back(const T* b, const T* q, T* A, T* B, T* Q, int k) {
    const T w = Q[k] / b[0];
    if (A) A[k] = A[k] + w;
    SNN_UNROLL
    for (int i = 0; i <= k; i++) B[i] = B[i] - q[k - i] * w;
    SNN_UNROLL
    for (int i = 1; i <= k; i++) Q[k - i] = Q[k - i] - b[i] * w;
}

}  // namespace snn
