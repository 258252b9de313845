// The part of the program that knows no model: compiled once for all of them.
#include "program.h"

int main()
{
    const char* path = std::getenv(SNN_EXCHANGE);
    if (!path) return std::fputs(SNN_EXCHANGE " does not name the exchange file\n", stderr), 2;
    return snn::Program().serve(path);
}
