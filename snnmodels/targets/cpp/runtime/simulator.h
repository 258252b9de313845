// What runs trials of a network, as the program sees it: apart from how it does so, so that they are compiled side by side.
#pragma once
#include <memory>
#include "network.h"

namespace snn {

// One trial at a time, with states and sums of its own: one of these for each thread
class Simulator
{
public:
    explicit Simulator(std::vector<std::unique_ptr<Neurons>> neurons) : neurons(std::move(neurons)) {}
    virtual ~Simulator() {}
    virtual void refresh() = 0;  // after new parameter values
    virtual void forward(Trial& trial, int number, bool keep) = 0;  // number: of the trial, where samples are wanted
    virtual long late_ties(const Trial& trial) = 0;  // those of a trial that `forward` has left out, see ComponentSimulator
    virtual void backward_begin(bool in_place) = 0;  // in_place: sums over weights go where those over all trials are wanted
    virtual void backward(Trial& trial, const Cotangent& loss) = 0;
    std::vector<std::unique_ptr<Neurons>>& populations() { return neurons; }

    long ties = 0;
    bool left_out = false;  // whether some are still to be counted
    std::vector<Sums> weight_sums, delay_sums;
    std::vector<Aligned<double>> parameter_sums;
    std::vector<double> scratch;
    Trial trial;

protected:
    std::vector<std::unique_ptr<Neurons>> neurons;
};
std::unique_ptr<Simulator> make_simulator(const Network& net, std::vector<std::unique_ptr<Neurons>> neurons);

// Another way to run some of the components, see sparse.h
class ComponentSimulator
{
public:
    virtual ~ComponentSimulator() {}
    virtual void refresh() = 0;
    virtual bool suits(const Component& c) const = 0;
    virtual void forward(Trial& trial, const Component& c, ComponentTape& tape) = 0;
    // Instants at which several spikes arrive at a population; `long_`: whether to count them takes longer than to simulate
    virtual long meetings(const Trial& trial, const Component& c) = 0;
    virtual bool long_(const Component& c) const = 0;
    virtual void backward(Trial& trial, const Component& c, const ComponentTape& tape, std::vector<Sums>& weight_sums, std::vector<Sums>& delay_sums) = 0;
};
std::unique_ptr<ComponentSimulator> make_sparse(const Network& net, std::vector<std::unique_ptr<Neurons>>& neurons);

}  // namespace snn
