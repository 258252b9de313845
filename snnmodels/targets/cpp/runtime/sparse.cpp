#include "sparse.h"

std::unique_ptr<snn::ComponentSimulator> snn::make_sparse(const Network& net, std::vector<std::unique_ptr<Neurons>>& neurons)
{
    return std::make_unique<Sparse>(net, neurons);
}
