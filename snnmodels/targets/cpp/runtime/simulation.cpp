#include "simulation.h"

std::unique_ptr<snn::Simulator> snn::make_simulator(const Network& net, std::vector<std::unique_ptr<Neurons>> neurons)
{
    return std::make_unique<EventSimulator>(net, std::move(neurons));
}

// where no sparse.cpp is linked
__attribute__((weak)) std::unique_ptr<snn::ComponentSimulator> snn::make_sparse(const Network&, std::vector<std::unique_ptr<Neurons>>&)
{
    return nullptr;
}
