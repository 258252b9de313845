// The program that Python starts.
#include "program.cuh"

int main()
{
    const char* path = std::getenv(SNN_EXCHANGE);
    if (!path) return std::fputs(SNN_EXCHANGE " does not name the exchange file\n", stderr), 2;
    const std::string missing = snn::no_device();
    if (!missing.empty()) return std::fprintf(stderr, "%s\n", missing.c_str()), 4;
    return snn::Program().serve(path);
}
