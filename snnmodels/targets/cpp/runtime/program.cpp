// The part of a program that knows no model: compiled once for all of them, but for ways that not all need (general.cpp, sparse.cpp).
#include "program.h"
#include "once.h"

int main()
{
    const char* path = std::getenv(SNN_EXCHANGE);
    if (!path) return std::fputs(SNN_EXCHANGE " does not name the exchange file\n", stderr), 2;
    return snn::Program().serve(path);
}
