// Runs CUDA C++ on a CPU, for tests: the declarations that rewritten .cu files are compiled against.
// Written for this project; no code of NVIDIA's or of others'. MIT licence.
//
// A kernel launch runs its blocks one after another (all at once if it is cooperative) on the calling thread. The
// threads of a block are fibers that change only at barriers, warp functions and (order random) atomics, so runs are
// exactly reproducible. See README.md for what is checked and for the environment variables.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#define CUDART_VERSION 13000
#define CUDA_VERSION 13000
#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

// ---- vector types ------------------------------------------------------------------------------------------------
#define CUDACPU_VECTOR(T, N)                                                                                           \
    struct alignas(sizeof(T) * 2) N##2 { T x, y; };                                                                    \
    struct N##3 { T x, y, z; };                                                                                        \
    struct alignas(sizeof(T) * 4 > 16 ? 16 : sizeof(T) * 4) N##4 { T x, y, z, w; };                                    \
    inline N##2 make_##N##2(T x, T y) { return {x, y}; }                                                               \
    inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                                                       \
    inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDACPU_VECTOR(int, int)
CUDACPU_VECTOR(unsigned int, uint)
CUDACPU_VECTOR(float, float)
CUDACPU_VECTOR(double, double)
CUDACPU_VECTOR(long long, longlong)
#undef CUDACPU_VECTOR

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
    constexpr operator uint3() const { return {x, y, z}; }
};

extern uint3 threadIdx, blockIdx;  // of the fiber that runs
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

// ---- the executor ------------------------------------------------------------------------------------------------
using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;

namespace cudacpu {

struct Config {
    dim3 grid, block;
    std::size_t shared = 0;
    bool cooperative = false;
};

void launch(const char* kernel, const Config& config, void (*body)(void*), void* closure);
void check_argument(const char* kernel, int position, const void* pointer);

// Device memory can be touched by host code only while one of these lives.
struct DeviceAccess {
    DeviceAccess();
    ~DeviceAccess();
    DeviceAccess(const DeviceAccess&) = delete;
};

template <class T> void check_one(const char* kernel, int position, const T& argument) {
    if constexpr (std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>)
        check_argument(kernel, position, (const void*)argument);
}

template <class... P> struct Launcher {
    const char* name;
    void (*kernel)(P...);
    Config config;
    void operator()(P... arguments) const {
        int position = 0;
        (check_one(name, position++, arguments), ...);
        auto body = [&] { kernel(arguments...); };
        launch(name, config, [](void* b) { (*static_cast<decltype(body)*>(b))(); }, &body);
    }
};

// what `kernel<<<grid, block, shared, stream>>>` is rewritten to
template <class... P>
Launcher<P...> launcher(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared = 0,
                        cudaStream_t = nullptr) {
    return {name, kernel, {grid, block, shared, false}};
}

void barrier(const char* file, int line);
int barrier_count(int predicate, int what, const char* file, int line);  // what: 0 count, 1 and, 2 or
void grid_barrier(const char* file, int line);
const std::uint64_t* warp_exchange(unsigned mask, std::uint64_t value, unsigned* present, const char* what);
unsigned lane();
unsigned alive_lanes();
void yield();
void* shared_static(const void* tag, std::size_t size, std::size_t align);
void* shared_dynamic();
bool in_kernel();

template <class T> std::uint64_t to_bits(T v) {
    static_assert(sizeof(T) <= 8, "warp functions take values of up to 8 bytes");
    std::uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof v);
    return bits;
}
template <class T> T from_bits(std::uint64_t bits) {
    T v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
}
// What lanes exchange lies in memory of the executor, which is no matter of the race detector.
#define CUDACPU_OWN __attribute__((no_sanitize("thread")))
// value of lane `source`, or the own one where that lane doesn't take part (undefined in CUDA)
template <class T> CUDACPU_OWN T shuffle(unsigned mask, T value, int source, const char* what) {
    unsigned present;
    const std::uint64_t* all = warp_exchange(mask, to_bits(value), &present, what);
    return source >= 0 && source < 32 && (present >> source & 1) ? from_bits<T>(all[source]) : value;
}
template <class T, class F> CUDACPU_OWN T reduce(unsigned mask, T value, F f, const char* what) {
    unsigned present;
    const std::uint64_t* all = warp_exchange(mask, to_bits(value), &present, what);
    bool first = true;
    T result{};
    for (int i = 0; i < 32; i++)
        if (present >> i & 1) {
            result = first ? from_bits<T>(all[i]) : f(result, from_bits<T>(all[i]));
            first = false;
        }
    return result;
}

}  // namespace cudacpu

// ---- device functions --------------------------------------------------------------------------------------------
#define __syncthreads() ::cudacpu::barrier(__FILE__, __LINE__)
#define __syncthreads_count(p) ::cudacpu::barrier_count((p) != 0, 0, __FILE__, __LINE__)
#define __syncthreads_and(p) ::cudacpu::barrier_count((p) != 0, 1, __FILE__, __LINE__)
#define __syncthreads_or(p) ::cudacpu::barrier_count((p) != 0, 2, __FILE__, __LINE__)
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) { cudacpu::yield(); }
long long clock64();

inline void __syncwarp(unsigned mask = 0xffffffffu) {
    unsigned present;
    cudacpu::warp_exchange(mask, 0, &present, "__syncwarp");
}
inline unsigned __activemask() { return cudacpu::alive_lanes(); }
CUDACPU_OWN inline unsigned __ballot_sync(unsigned mask, int predicate) {
    unsigned present, result = 0;
    const std::uint64_t* all = cudacpu::warp_exchange(mask, predicate != 0, &present, "__ballot_sync");
    for (int i = 0; i < 32; i++)
        result |= (present >> i & 1) && all[i] ? 1u << i : 0u;
    return result;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
template <class T> CUDACPU_OWN unsigned __match_any_sync(unsigned mask, T value) {
    unsigned present, result = 0;
    const std::uint64_t* all = cudacpu::warp_exchange(mask, cudacpu::to_bits(value), &present, "__match_any_sync");
    for (int i = 0; i < 32; i++)
        result |= (present >> i & 1) && all[i] == cudacpu::to_bits(value) ? 1u << i : 0u;
    return result;
}
template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    int base = (int)cudacpu::lane() & ~(width - 1);
    return cudacpu::shuffle(mask, value, base + (source & (width - 1)), "__shfl_sync");
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = (int)cudacpu::lane(), from = lane - (int)delta;
    return cudacpu::shuffle(mask, value, from < (lane & ~(width - 1)) ? lane : from, "__shfl_up_sync");
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = (int)cudacpu::lane(), from = lane + (int)delta;
    return cudacpu::shuffle(mask, value, from > (lane | (width - 1)) ? lane : from, "__shfl_down_sync");
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    int lane = (int)cudacpu::lane(), from = lane ^ bits;
    return cudacpu::shuffle(mask, value, from > (lane | (width - 1)) ? lane : from, "__shfl_xor_sync");
}
template <class T> T __reduce_add_sync(unsigned mask, T v) {
    return cudacpu::reduce(mask, v, [](T a, T b) { return T(a + b); }, "__reduce_add_sync");
}
template <class T> T __reduce_min_sync(unsigned mask, T v) {
    return cudacpu::reduce(mask, v, [](T a, T b) { return b < a ? b : a; }, "__reduce_min_sync");
}
template <class T> T __reduce_max_sync(unsigned mask, T v) {
    return cudacpu::reduce(mask, v, [](T a, T b) { return a < b ? b : a; }, "__reduce_max_sync");
}
template <class T> T __reduce_or_sync(unsigned mask, T v) {
    return cudacpu::reduce(mask, v, [](T a, T b) { return T(a | b); }, "__reduce_or_sync");
}
template <class T> T __reduce_and_sync(unsigned mask, T v) {
    return cudacpu::reduce(mask, v, [](T a, T b) { return T(a & b); }, "__reduce_and_sync");
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline double __longlong_as_double(long long x) { return cudacpu::from_bits<double>((std::uint64_t)x); }
inline long long __double_as_longlong(double x) { return (long long)cudacpu::to_bits(x); }
inline float __int_as_float(int x) { return cudacpu::from_bits<float>((std::uint32_t)x); }
inline int __float_as_int(float x) { return (int)cudacpu::to_bits(x); }
inline float __uint_as_float(unsigned x) { return cudacpu::from_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return (unsigned)cudacpu::to_bits(x); }
template <class T> T __ldg(const T* p) { return *p; }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float x, float y) { return x / y; }

// CUDA has these in the global namespace, for mixed types too
#define CUDACPU_MINMAX(A, B)                                                                                           \
    inline std::common_type_t<A, B> min(A a, B b) { using T = std::common_type_t<A, B>; return T(b) < T(a) ? T(b) : T(a); } \
    inline std::common_type_t<A, B> max(A a, B b) { using T = std::common_type_t<A, B>; return T(a) < T(b) ? T(b) : T(a); }
CUDACPU_MINMAX(int, int)
CUDACPU_MINMAX(unsigned, unsigned)
CUDACPU_MINMAX(int, unsigned)
CUDACPU_MINMAX(unsigned, int)
CUDACPU_MINMAX(long, long)
CUDACPU_MINMAX(unsigned long, unsigned long)
CUDACPU_MINMAX(int, long)
CUDACPU_MINMAX(long, int)
CUDACPU_MINMAX(long long, long long)
CUDACPU_MINMAX(unsigned long long, unsigned long long)
CUDACPU_MINMAX(float, float)
CUDACPU_MINMAX(double, double)
CUDACPU_MINMAX(float, double)
CUDACPU_MINMAX(double, float)
#undef CUDACPU_MINMAX

#define CUDACPU_ATOMIC_ARITHMETIC(T)                                                                                   \
    T atomicAdd(T*, T);                                                                                                \
    T atomicSub(T*, T);                                                                                                \
    T atomicExch(T*, T);                                                                                               \
    T atomicMin(T*, T);                                                                                                \
    T atomicMax(T*, T);                                                                                                \
    inline T atomicAdd_block(T* p, T v) { return atomicAdd(p, v); }                                                    \
    inline T atomicAdd_system(T* p, T v) { return atomicAdd(p, v); }
#define CUDACPU_ATOMIC_BITS(T)                                                                                         \
    T atomicCAS(T*, T compare, T value);                                                                               \
    T atomicAnd(T*, T);                                                                                                \
    T atomicOr(T*, T);                                                                                                 \
    T atomicXor(T*, T);
CUDACPU_ATOMIC_ARITHMETIC(int)
CUDACPU_ATOMIC_ARITHMETIC(unsigned)
CUDACPU_ATOMIC_ARITHMETIC(unsigned long long)
CUDACPU_ATOMIC_ARITHMETIC(float)
CUDACPU_ATOMIC_ARITHMETIC(double)
CUDACPU_ATOMIC_BITS(int)
CUDACPU_ATOMIC_BITS(unsigned)
CUDACPU_ATOMIC_BITS(unsigned long long)
unsigned atomicInc(unsigned*, unsigned limit);
unsigned atomicDec(unsigned*, unsigned limit);

// ---- the runtime API ---------------------------------------------------------------------------------------------
enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorNotSupported = 801,
    cudaErrorCooperativeLaunchTooLarge = 720
};
using cudaError_t = cudaError;
enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
enum cudaLimit { cudaLimitStackSize, cudaLimitPrintfFifoSize, cudaLimitMallocHeapSize };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8, cudaFuncAttributePreferredSharedMemoryCarveout };
enum cudaFuncCache { cudaFuncCachePreferNone, cudaFuncCachePreferShared, cudaFuncCachePreferL1 };
enum cudaDeviceAttr {
    cudaDevAttrMaxThreadsPerBlock = 1,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrCooperativeLaunch = 95
};
struct cudaFuncAttributes {
    std::size_t sharedSizeBytes, constSizeBytes, localSizeBytes;
    int maxThreadsPerBlock, numRegs, ptxVersion, binaryVersion, maxDynamicSharedSizeBytes;
};
struct cudaDeviceProp {
    char name[256];
    std::size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerMultiprocessor, sharedMemPerBlockOptin, totalConstMem;
    int regsPerBlock, regsPerMultiprocessor, warpSize, maxThreadsPerBlock, maxThreadsDim[3], maxGridSize[3];
    int major, minor, multiProcessorCount, maxThreadsPerMultiProcessor, maxBlocksPerMultiProcessor;
    int concurrentKernels, cooperativeLaunch, unifiedAddressing, managedMemory, canMapHostMemory, l2CacheSize;
};

constexpr unsigned cudaEventDefault = 0, cudaEventDisableTiming = 2, cudaStreamNonBlocking = 1, cudaHostAllocDefault = 0;

const char* cudaGetErrorString(cudaError_t);
const char* cudaGetErrorName(cudaError_t);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();
cudaError_t cudaMalloc(void**, std::size_t);
cudaError_t cudaFree(void*);
cudaError_t cudaMemcpy(void*, const void*, std::size_t, cudaMemcpyKind);
cudaError_t cudaMemset(void*, int, std::size_t);
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp*, int);
cudaError_t cudaDeviceGetAttribute(int*, cudaDeviceAttr, int);
cudaError_t cudaGetDeviceCount(int*);
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetDevice(int* d) { return *d = 0, cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaDeviceReset() { return cudaSuccess; }
inline cudaError_t cudaDeviceSetLimit(cudaLimit, std::size_t) { return cudaSuccess; }
inline cudaError_t cudaRuntimeGetVersion(int* v) { return *v = CUDART_VERSION, cudaSuccess; }
inline cudaError_t cudaDriverGetVersion(int* v) { return *v = CUDART_VERSION, cudaSuccess; }
inline cudaError_t cudaProfilerStart() { return cudaSuccess; }
inline cudaError_t cudaProfilerStop() { return cudaSuccess; }
inline cudaError_t cudaStreamCreate(cudaStream_t* s) { return *s = nullptr, cudaSuccess; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) { return *s = nullptr, cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned = 0) { return cudaSuccess; }
inline cudaError_t cudaEventCreate(cudaEvent_t* e) { return *e = nullptr, cudaSuccess; }
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { return *e = nullptr, cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t = nullptr) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) { return *ms = 0, cudaSuccess; }
inline cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
template <class T> cudaError_t cudaMalloc(T** p, std::size_t n) { return cudaMalloc((void**)p, n); }
template <class T> cudaError_t cudaMallocAsync(T** p, std::size_t n, cudaStream_t) { return cudaMalloc((void**)p, n); }
inline cudaError_t cudaFreeAsync(void* p, cudaStream_t) { return cudaFree(p); }
template <class T> cudaError_t cudaMallocHost(T** p, std::size_t n, unsigned = 0) {
    return (*p = (T*)std::malloc(n)) ? cudaSuccess : cudaErrorMemoryAllocation;
}
template <class T> cudaError_t cudaHostAlloc(T** p, std::size_t n, unsigned f) { return cudaMallocHost(p, n, f); }
inline cudaError_t cudaFreeHost(void* p) { return std::free(p), cudaSuccess; }
inline cudaError_t cudaMemcpyAsync(void* d, const void* s, std::size_t n, cudaMemcpyKind k, cudaStream_t = nullptr) {
    return cudaMemcpy(d, s, n, k);
}
inline cudaError_t cudaMemsetAsync(void* p, int v, std::size_t n, cudaStream_t = nullptr) { return cudaMemset(p, v, n); }

namespace cudacpu {
cudaError_t symbol_copy(void* to, const void* from, std::size_t n, bool to_symbol);
void symbol_known(const void* address);
int launch_threads();  // the block size that an occupancy query recommends
int resident_blocks(int threads);
template <class... P, std::size_t... I>
void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<P>*>(arguments[I])...);
}
template <class... P>
cudaError_t launch_pointers(void (*kernel)(P...), dim3 grid, dim3 block, void** arguments, std::size_t shared, bool all) {
    auto body = [&] { call(kernel, arguments, std::index_sequence_for<P...>{}); };
    launch("cudaLaunchKernel", {grid, block, shared, all}, [](void* b) { (*static_cast<decltype(body)*>(b))(); }, &body);
    return cudaPeekAtLastError();
}
}  // namespace cudacpu

template <class T>
cudaError_t cudaMemcpyToSymbol(T& symbol, const void* from, std::size_t n, std::size_t offset = 0,
                               cudaMemcpyKind = cudaMemcpyHostToDevice) {
    if (offset + n > sizeof symbol) return cudaErrorInvalidValue;
    return cudacpu::symbol_copy((char*)&symbol + offset, from, n, true);
}
template <class T>
cudaError_t cudaMemcpyFromSymbol(void* to, const T& symbol, std::size_t n, std::size_t offset = 0,
                                 cudaMemcpyKind = cudaMemcpyDeviceToHost) {
    if (offset + n > sizeof symbol) return cudaErrorInvalidValue;
    return cudacpu::symbol_copy(to, (const char*)&symbol + offset, n, false);
}
template <class P, class T> cudaError_t cudaGetSymbolAddress(P** p, T& symbol) {
    cudacpu::symbol_known(&symbol);
    return *p = (P*)(void*)&symbol, cudaSuccess;
}
template <class K> cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* a, K) {
    *a = {};
    a->maxThreadsPerBlock = cudacpu::launch_threads();
    a->numRegs = 32;
    a->maxDynamicSharedSizeBytes = 48 * 1024;
    return cudaSuccess;
}
template <class K> cudaError_t cudaFuncSetAttribute(K, cudaFuncAttribute, int) { return cudaSuccess; }
template <class K> cudaError_t cudaFuncSetCacheConfig(K, cudaFuncCache) { return cudaSuccess; }
template <class K>
cudaError_t cudaOccupancyMaxPotentialBlockSize(int* grid, int* block, K, std::size_t = 0, int limit = 0) {
    *block = limit > 0 ? std::min(limit, cudacpu::launch_threads()) : cudacpu::launch_threads();
    *grid = cudacpu::resident_blocks(*block);
    return cudaSuccess;
}
template <class K>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, K, int threads, std::size_t) {
    return *blocks = cudacpu::resident_blocks(threads), cudaSuccess;
}
// the kernel must be given with its type, as the templates of CUDA's own header allow: no cast to void*
template <class... P>
cudaError_t cudaLaunchKernel(void (*k)(P...), dim3 g, dim3 b, void** a, std::size_t s = 0, cudaStream_t = nullptr) {
    return cudacpu::launch_pointers(k, g, b, a, s, false);
}
template <class... P>
cudaError_t cudaLaunchCooperativeKernel(void (*k)(P...), dim3 g, dim3 b, void** a, std::size_t s = 0, cudaStream_t = nullptr) {
    return cudacpu::launch_pointers(k, g, b, a, s, true);
}
