#include "simulation.h"

std::unique_ptr<snn::Simulator> snn::make_simulator(const Network& net, std::vector<std::unique_ptr<Neurons>> neurons)
{
    return std::make_unique<EventSimulator>(net, std::move(neurons));
}
