// Arrays in files of NumPy's format, versions 1 to 3, read and written without NumPy; see
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are little-endian, this processor is not"
#endif

namespace snn_project {

// What is wrong with the files that were given; the message goes to the user
struct Wrong : std::runtime_error { using std::runtime_error::runtime_error; };

typedef std::vector<std::int64_t> Shape;

inline std::string as_text(const Shape& shape)
{
    std::string text = "(";
    for (std::size_t k = 0; k < shape.size(); k++) text += (k ? ", " : "") + std::to_string(shape[k]);
    return text + (shape.size() == 1 ? ",)" : ")");
}
inline std::size_t count(const Shape& shape)
{
    std::size_t n = 1;
    for (std::int64_t k : shape) n *= std::size_t(k);
    return n;
}
inline std::size_t bytes_of(const std::string& type) { return std::size_t(std::atoi(type.c_str() + 2)); }
inline std::string name_of(const std::string& type) { return type == "<f8" ? "float64" : type == "<i8" ? "int64" : type == "|b1" ? "bool" : type; }

// An array: `type` is NumPy's ("<f8", "<i8", "|b1"), the last index runs fastest
struct Npy
{
    std::string type;
    Shape shape;
    std::vector<char> data;
    template <class T> const T* as() const { return reinterpret_cast<const T*>(data.data()); }
};

// What stands behind a key of the header
inline std::string entry(const std::string& header, const std::string& key, const std::string& path)
{
    const std::size_t at = header.find("'" + key + "':");
    if (at == std::string::npos) throw Wrong(path + ": its header is damaged (no " + key + ")");
    const std::size_t from = header.find_first_not_of(' ', at + key.size() + 3);
    return from == std::string::npos ? "" : header.substr(from);
}

inline Npy read_npy(const std::string& path, const std::string& type)
{
    struct Closed { std::FILE* file; ~Closed() { if (file) std::fclose(file); } } opened{std::fopen(path.c_str(), "rb")};
    if (!opened.file) throw Wrong(path + ": " + std::strerror(errno));
    std::vector<char> all;
    char part[1 << 16];
    for (std::size_t n; (n = std::fread(part, 1, sizeof part, opened.file)) > 0;) all.insert(all.end(), part, part + n);
    if (std::ferror(opened.file)) throw Wrong(path + ": cannot be read: " + std::strerror(errno));
    const std::size_t start = all.size() > 6 && all[6] == 1 ? 10 : 12;
    if (all.size() < start || std::memcmp(all.data(), "\x93NUMPY", 6) || all[6] < 1 || all[6] > 3) throw Wrong(path + ": not a .npy file");
    std::size_t length = 0;
    for (std::size_t k = start; k-- > 8;) length = length << 8 | (unsigned char)all[k];
    if (length > all.size() - start) throw Wrong(path + ": it ends within its header");
    const std::string header(all.data() + start, length);
    for (unsigned char c : header) if ((c < ' ' && c != '\n') || c > '~') throw Wrong(path + ": its header is damaged");
    const std::string found = entry(header, "descr", path), order = entry(header, "fortran_order", path), shape = entry(header, "shape", path);
    Npy array;
    array.type = found.substr(1, found.find('\'', 1) - 1);
    if (found[0] != '\'' || array.type != type)
        throw Wrong(path + ": holds " + (found[0] == '\'' ? name_of(array.type) : "records") + "; expected " + name_of(type));
    if (order.compare(0, 5, "False")) throw Wrong(path + ": is in Fortran's order; save numpy.ascontiguousarray of it");
    const char* at = shape.c_str() + 1;
    std::size_t size = bytes_of(type);
    const std::size_t have = all.size() - start - length;
    bool empty = false;
    while (*at && *at != ')')
    {
        char* end;
        const long long n = std::strtoll(at, &end, 10);
        if (end == at || n < 0) throw Wrong(path + ": its header is damaged (shape)");
        array.shape.push_back(n);
        // what is larger than the file is wrong in any case, and would not fit a number
        if (n == 0) empty = true;
        else size = size > have / std::size_t(n) ? have + 1 : size * std::size_t(n);
        for (at = end; *at == ',' || *at == ' ' || *at == 'L';) at++;
    }
    if (empty) size = 0;
    if (size != have) throw Wrong(path + ": is " + (have < size ? "cut off" : "longer than it says") + ": shape " + as_text(array.shape) + " of " + name_of(type) + ", and " + std::to_string(have) + " bytes");
    array.data.assign(all.end() - std::ptrdiff_t(have), all.end());
    return array;
}

// CRC-32, as zlib has it
inline std::uint32_t checksum(const std::vector<char>& data)
{
    std::uint32_t c = ~0u;
    for (unsigned char byte : data)
    {
        c ^= byte;
        for (int k = 0; k < 8; k++) c = c >> 1 ^ (c & 1 ? 0xEDB88320u : 0u);
    }
    return ~c;
}

// Written to the end, and on the disk
inline void write_npy(const std::string& path, const std::string& type, const Shape& shape, const void* data)
{
    std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + as_text(shape) + ", }";
    header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10, ' ');
    header.back() = '\n';
    const std::uint16_t length = std::uint16_t(header.size());
    const std::size_t size = count(shape) * bytes_of(type);
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (!file) throw std::runtime_error(path + ": " + std::strerror(errno));
    bool right = std::fwrite("\x93NUMPY\x01\x00", 1, 8, file) == 8 && std::fwrite(&length, 2, 1, file) == 1;
    right = right && std::fwrite(header.data(), 1, header.size(), file) == header.size();
    right = right && std::fwrite(data, 1, size, file) == size && !std::fflush(file) && !fsync(fileno(file));
    const int why = errno;
    if (std::fclose(file) || !right) throw std::runtime_error(path + ": cannot be written: " + std::strerror(why));
}

}  // namespace snn_project
