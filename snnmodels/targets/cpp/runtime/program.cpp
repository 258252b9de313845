// The part of the program that knows no model: compiled once for all of them.
#include "program.h"

int main()
{
    const char* path = std::getenv(SNN_EXCHANGE);
    if (!path) { std::cerr << SNN_EXCHANGE " does not name the exchange file" << std::endl; return 2; }
    return snn::Program().serve(path);
}
