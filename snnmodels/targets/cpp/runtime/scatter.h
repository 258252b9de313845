// Neurons of one population among which arrivals are scattered: what sparse.h asks of them, and scattered.h does.
#pragma once
#include <utility>
#include <vector>
#include "neurons.h"
#include "records.h"

namespace snn {

// Arrivals of single synapses; arrays are readable for whole vectors
struct Bucket
{
    std::vector<double> time, weight;
    std::vector<int> target;
    int n = 0;
    void room(int more)
    {
        const std::size_t wanted = std::size_t(n) + more + LANES;
        if (time.size() >= wanted) return;
        time.resize(wanted + wanted / 2), weight.resize(wanted + wanted / 2), target.resize(wanted + wanted / 2);
    }
};

class Scatter
{
public:
    virtual ~Scatter() {}
    virtual void refresh() = 0;  // after new parameter values
    virtual void begin() = 0;
    // forward, in this order for each window: what is known before, the start, then what happens, the end
    virtual void know(int receptor, double t, const Row& row) = 0;
    virtual void start(double t0, double last, double length, const std::vector<std::pair<int, const Bucket*>>& buckets) = 0;
    virtual void arrive(int receptor, const Row& row, double t) = 0;
    virtual void look() = 0;  // next crossings of the neurons that something happened to
    virtual void step() = 0;  // past the horizon, to the next one
    virtual void commit(double limit) = 0;  // crossings up to `limit`: to `found`
    // a neuron that has spiked is refractory, until a time of the trial; and at a time of the window no longer: its states then
    virtual void hold(int neuron, double until) = 0;
    virtual void release(int neuron, double t, double* state) = 0;
    virtual void finish(double until) = 0;
    virtual bool finite(int& neuron) const = 0;
    // backward, window by window
    virtual void back_begin(int slots, double span) = 0;  // slots: of windows whose costates are kept, one if events come in order
    virtual void spike_back(int window, double t, int neuron, const double* before, double sens) = 0;
    // the end of a refractory period, with the states there; the derivative by its time
    virtual double release_back(int window, double t, int neuron, const double* state) = 0;
    // a row that arrives at t, which is in the window; the derivative by the time of the arrival, if that is wanted
    virtual double row_back(int receptor, const Row& row, int window, double t, double* gradient, bool timed) = 0;
    // a row of a spike at t with arrivals before `until`, each after a delay of its own
    virtual double rows_back(int receptor, const Row& row, double t, const double* delay, double until, double* gradient, double* delay_gradient) = 0;
    virtual void age(int window) = 0;
    // gradients by parameters, when all costates are known: from the start, then from all spikes of one projection after the
    // other, in the order of time; delay: one for all of the row, or for each
    virtual void from_start() = 0;
    virtual void rewind() = 0;
    virtual void row_by_parameters(int receptor, const Row& row, double t, const double* delay, bool delayed, double until) = 0;

    double earliest = INF;           // crossing in the window
    double horizon = 0, length = 0;  // how far neurons have been looked at; of the window
    int n_changed = 0;      // neurons to look at
    struct Found
    {
        double t;  // in the window
        int population, neuron;
        std::size_t before;
        bool operator<(const Found& o) const { return t != o.t ? t < o.t : population != o.population ? population < o.population : neuron < o.neuron; }
    };
    std::vector<Found> found;
    std::vector<double> before;  // states before the reset
    std::vector<int> soon;       // neurons for which a crossing was found
};

}  // namespace snn
