// Memory of the device, and what CUDA says of it.
#pragma once
#include <cstdio>
#include <cstring>
#include <cuda_runtime.h>
#include <stdexcept>
#include <string>
#include <vector>

namespace snn {

inline void check(cudaError_t e)
{
    if (e != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(e));
}

[[noreturn]] inline void throw_no_room(std::size_t bytes)
{
    std::size_t left = 0, all = 0;
    cudaGetLastError();  // else later calls would tell of it again
    if (cudaMemGetInfo(&left, &all) != cudaSuccess) left = all = 0;
    char text[200];
    std::snprintf(text, sizeof text, "the GPU has no room: one array of the batch takes %.3g GB, and %.3g of its %.3g GB are left; "
                  "use smaller batches, or target cpp_standalone", 1e-9 * bytes, 1e-9 * left, 1e-9 * all);
    throw std::runtime_error(text);
}

// Memory of the device
template <class T> class Buffer
{
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer(Buffer&& o) noexcept : data(o.data), length(o.length) { o.data = nullptr, o.length = 0; }
    ~Buffer() { if (data) cudaFree(data); }
    // room for n, of unknown content
    T* room(std::size_t n)
    {
        if (n <= length && data) return data;
        if (data) check(cudaFree(data)), data = nullptr, length = 0;
        void* made = nullptr;
        const std::size_t bytes = (n ? n : 1) * sizeof(T);
        const cudaError_t e = cudaMalloc(&made, bytes);
        if (e == cudaErrorMemoryAllocation) throw_no_room(bytes);
        check(e);
        data = static_cast<T*>(made), length = n ? n : 1;
        return data;
    }
    T* put(const T* from, std::size_t n)
    {
        room(n);
        if (n) check(cudaMemcpy(data, from, n * sizeof(T), cudaMemcpyHostToDevice));
        return data;
    }
    T* put(const std::vector<T>& from) { return put(from.data(), from.size()); }
    void get(T* to, std::size_t n) const { if (n) check(cudaMemcpy(to, data, n * sizeof(T), cudaMemcpyDeviceToHost)); }
    std::vector<T> get(std::size_t n) const { std::vector<T> to(n); get(to.data(), n); return to; }
    T* data = nullptr;

private:
    std::size_t length = 0;
};

// A list on the device that is sent there only where it has changed
template <class T> class Table
{
public:
    const T* put(const std::vector<T>& from)
    {
        if (data.data && from.size() == sent.size() && (from.empty() || !std::memcmp(from.data(), sent.data(), from.size() * sizeof(T)))) return data.data;
        sent.clear();  // of no known content until all is there
        data.put(from);
        sent = from;
        return data.data;
    }

private:
    Buffer<T> data;
    std::vector<T> sent;
};

}  // namespace snn
