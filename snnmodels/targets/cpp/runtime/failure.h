// What a simulation throws that has no result.
#pragma once

namespace snn {

// Python words it.
struct Failure
{
    const char* what;
    int population, neuron;
    double time;
};

}  // namespace snn
