// The general way, which networks that can be swept do without.
#include "general.h"

std::unique_ptr<snn::Simulator> snn::make_simulator(const Network& net, std::vector<std::unique_ptr<Neurons>> neurons)
{
    return std::make_unique<GeneralSimulator>(net, std::move(neurons));
}
