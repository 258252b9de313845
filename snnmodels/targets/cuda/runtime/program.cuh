// The program around the engine: it reads what to simulate from a file that it shares with Python, and answers one word with
// another. The order in which numbers are read here is that in which targets/cpp/layout.py writes them.
#pragma once
#include <algorithm>
#include "exchange.h"
#include "memory.cuh"
#include "crossing.cuh"
#include "models.cuh"
#include "forward.cuh"
#include "backward.cuh"
#include "training.cuh"

namespace snn {

// Trials are summed in this many chunks at most, and gradients of all chunks take no more than this: neither depends on the
// device, for the order of a sum is part of its result
constexpr int MOST_CHUNKS = 512;
constexpr double MOST_BYTES = 1 << 30;

// What controls the Taylor steps of a model, as bytes for the device, and where each begins
template <class S, class R> void add_control(double tolerance, double longest, std::vector<char>& to, std::size_t& at)
{
    const Control<S> made(tolerance, longest, R::SCALE);
    at = to.size();
    to.insert(to.end(), reinterpret_cast<const char*>(&made), reinterpret_cast<const char*>(&made + 1));
}
template <class R, bool = R::LINEAR> struct Controls
{
    static void add(double, double, std::vector<char>&, std::size_t&) {}
    static void add_peak(double, double, std::vector<char>&, std::size_t&) {}
};
template <class R> struct Controls<R, false>
{
    static void add(double tolerance, double longest, std::vector<char>& to, std::size_t& at)
    {
        add_control<typename R::template Series<double>, R>(tolerance, longest, to, at);
    }
    static void add_peak(double tolerance, double longest, std::vector<char>& to, std::size_t& at)
    {
        if constexpr (R::OBSERVED) add_control<typename R::Slope::template Series<double>, R>(tolerance, longest, to, at);
    }
};
template <class M, bool = M::REFRACTORY> struct HeldControls { static void add(double, double, std::vector<char>&, std::size_t&) {} };
template <class M> struct HeldControls<M, true> : Controls<typename M::Held> {};

void control_steps(int model, double tolerance, double longest, std::vector<char>& to, std::size_t* at)
{
    each_model(model, [&](auto tag) {
        using M = typename decltype(tag)::type;
        Controls<M>::add(tolerance, longest, to, at[0]);
        HeldControls<M>::add(tolerance, longest, to, at[1]);
        Controls<M>::add_peak(tolerance, longest, to, at[2]);
    });
}

// Why there is no GPU to run on; nothing where there is one
std::string no_device()
{
    int devices = 0;
    const cudaError_t found = cudaGetDeviceCount(&devices);
    if (found == cudaSuccess && devices) return "";
    return std::string("no GPU was found (") + (found == cudaSuccess ? "none is there" : cudaGetErrorString(found)) + ")";
}

class Program : public Exchange
{
private:
    bool answer(const std::string& word) override
    {
        if (word == "layout") layout();
        else if (word == "values") values();
        else if (word == "forward") forward_batch();
        else if (word == "backward") backward_batch();
        else if (word == "train") train();
        else if (word == "spikes") { const int k = argument(); if (k >= 0) spikes(k); }
        else return false;
        return true;
    }

    // What the shared file says, with its arrays
    struct SamplingArrays { int population, state, count; const double *times, *error; double* values; Buffer<double> to, from; };
    struct InputArrays
    {
        int n;
        const double *times, *queued, *at;  // at: those of this batch, on the device
        double* gradient;
        Buffer<double> given, back;
    };
    struct PopulationArrays
    {
        int model, n, width;
        std::vector<const double*> parameters;
        const double *initial, *bounds = nullptr, *peaks = nullptr;
        std::vector<double*> gradients;
        double *times = nullptr, *cotangent = nullptr;
        std::int64_t capacity = 0;
        std::vector<Buffer<double>> held;  // parameters, on the device
        Buffer<const double*> table;
        Buffer<double> first, threshold, peak, pull, parts, sum;
        Buffer<char> controls;
        std::size_t control_at[3] = {0, 0, 0};
    };
    struct ProjectionArrays
    {
        int source, target, receptor, sources, sparse, delayed, timed, rows, width;
        const double *weight, *delay;
        double *weight_gradient, *delay_gradient;
        const std::int64_t* first;
        const int* neuron;
        std::int64_t entries;
        double *mean, *square;  // null where the weights are not learnable
        Buffer<double> w, d, w_parts, d_parts, w_sum, d_sum, means, squares;
        Buffer<std::int64_t> rows_at;
        Buffer<int> targets, sent, left;
        Buffer<double> amplitude, error, interval, begun, due;
    };
    struct ComponentArrays
    {
        std::vector<int> populations, incoming, drives;
        bool feedback = false, needs_states = false;
        Room room = {256, 512, 64, 256, 64};
        int knots = 0;
        std::int64_t states = 0;
        Table<int> population, projection, drive;
        Buffer<int> pieces;
        Buffer<Piece> piece;
        Buffer<Arrival> arrival;
        Buffer<Own> instant, own;
        Buffer<Release> release;
        Buffer<Knot> knot;
        Buffer<double> released, turned, kept;
    };
    struct DriveArrays
    {
        int population, input, state, knots;
        const double *times, *jumps, *values, *slopes;
        double *value_gradient, *slope_gradient;
        Buffer<double> at, jump, value, slope, value_back, slope_back;
    };
    // Batches to be trained on one after the other, as targets/cpp/runtime/program.h describes them
    struct Queue
    {
        const std::int64_t *sizes, *targets;
        std::int64_t* predictions;
        const double *numbers, *corrections;
        double* results;
    };
    struct TrainArrays { int room = 64; Buffer<double> t, sens, before; Buffer<int> neuron, place, round, cause, count; };

    // Where everything lies now. A network stays what it is, and what a batch has left on the device stays there.
    void layout()
    {
        map();
        batch = array<std::int64_t>(), results = array<double>();
        const double* reals = array<double>();
        net.duration = reals[0], net.window = reals[1], tolerance = reals[2], net.max_spikes = reals[3];
        net.maxima = int(number()), net.readout = int(number()), net.observed = int(number()), net.input_gradients = int(number());
        number(), number(), number();  // ways of the C++ target
        maxima = array<double>(), maxima_error = array<double>();
        samplings.resize(std::size_t(number()));
        for (SamplingArrays& a : samplings)
        {
            a.population = int(number()), a.state = int(number()), a.count = int(number());
            a.times = array<double>(), a.values = array<double>(), a.error = array<double>();
        }
        net.inputs = int(number());
        inputs.resize(net.inputs);
        for (InputArrays& a : inputs)
        {
            a.n = int(number()), a.times = array<double>(), a.gradient = array<double>();
        }
        const auto states = [&](PopulationArrays& a) {
            a.parameters.clear(), a.gradients.clear();
            a.model = int(number()), a.n = int(number()), a.width = int(number());
            for (int p = int(number()); p > 0; p--) a.parameters.push_back(array<double>());
            a.initial = array<double>();
            for (int p = int(number()); p > 0; p--) a.gradients.push_back(array<double>());
        };
        net.populations = int(number());
        const auto at_least = [&](int n) { if (int(populations.size()) < n) populations.resize(n); };
        at_least(net.populations);
        for (int k = 0; k < net.populations; k++)
        {
            PopulationArrays& a = populations[k];
            states(a);
            a.bounds = array<double>(), a.peaks = array<double>();
            a.times = array<double>(), a.cotangent = array<double>(), a.capacity = number();
        }
        net.groups = net.populations + int(number());
        at_least(net.groups);
        for (int k = net.populations; k < net.groups; k++) states(populations[k]);
        projections.resize(std::size_t(number()));
        for (ProjectionArrays& a : projections)
        {
            a.source = int(number()), a.target = int(number()), a.receptor = int(number()), a.sources = int(number());
            a.sparse = int(number()), a.delayed = int(number()), a.timed = int(number());
            number();  // whether delays are learnable: their gradients are always taken
            a.rows = int(number()), a.width = int(number());
            a.weight = array<double>(), a.weight_gradient = array<double>();
            a.delay = array<double>(), a.delay_gradient = array<double>();
            a.first = array<std::int64_t>(), a.neuron = array<int>();
        }
        net.projections = int(projections.size());
        components.resize(std::size_t(number()));
        for (ComponentArrays& a : components)
        {
            a.populations.clear(), a.incoming.clear(), a.drives.clear(), a.knots = 0;
            for (int m = int(number()); m > 0; m--) a.populations.push_back(int(number()));
            for (int m = int(number()); m > 0; m--) a.incoming.push_back(int(number()));
        }
        net.components = int(components.size());
        drives.resize(std::size_t(number()));
        for (DriveArrays& a : drives)
        {
            a.population = int(number()), a.input = int(number()), a.state = int(number()), a.knots = int(number());
            a.times = array<double>(), a.jumps = array<double>(), a.values = array<double>(), a.slopes = array<double>();
            a.value_gradient = array<double>(), a.slope_gradient = array<double>();
            for (ComponentArrays& c : components)
                for (int p : c.populations)
                    if (p == a.population) c.drives.push_back(int(&a - drives.data())), c.knots += a.knots;
        }
        net.drives = int(drives.size());
        queue.sizes = array<std::int64_t>(), queue.targets = array<std::int64_t>(), queue.predictions = array<std::int64_t>();
        queue.numbers = array<double>(), queue.corrections = array<double>(), queue.results = array<double>();
        for (InputArrays& a : inputs) a.queued = array<double>();
        for (ProjectionArrays& a : projections) a.mean = array<double>(), a.square = array<double>();
        trains.resize(net.inputs + net.populations);
        plan_stops();
    }

    // All times at which states are read, in order, with what is read at each
    void plan_stops()
    {
        std::vector<double> times;
        for (const SamplingArrays& a : samplings) times.insert(times.end(), a.times, a.times + a.count);
        std::sort(times.begin(), times.end());
        times.erase(std::unique(times.begin(), times.end()), times.end());
        std::vector<Stop> all;
        std::vector<Reading> read;
        for (double t : times)
        {
            const int first = int(read.size());
            for (int k = 0; k < int(samplings.size()); k++)
                for (int m = 0; m < samplings[k].count; m++)
                    if (samplings[k].times[m] == t) read.push_back({k, m});
            all.push_back({t, first, int(read.size())});
        }
        net.stops = int(all.size()), net.samplings = int(samplings.size());
        net.stop = stops.put(all), net.reading = readings.put(read);
    }

    // --- what mostly stays the same from batch to batch -----------------------------------------------------------------------

    void values()
    {
        net.most = 1;
        for (PopulationArrays& a : populations)
        {
            const ModelInfo& m = MODELS[a.model];
            a.held.resize(m.parameters);
            std::vector<const double*> at;
            for (int p = 0; p < m.parameters; p++) at.push_back(a.held[p].put(a.parameters[p], m.per_neuron[p] ? a.width : 1));
            a.table.put(at);
            a.first.put(a.initial, std::size_t(m.states) * a.width);
            const std::size_t size = std::size_t(Ladder::LEVELS) * 4 * m.states * (m.shared ? 1 : a.width);
            if (a.bounds) a.threshold.put(a.bounds, size);
            if (a.peaks) a.peak.put(a.peaks, size);
            std::vector<char> controls;
            control_steps(a.model, tolerance, net.window, controls, a.control_at);
            a.controls.put(controls);
            net.most = std::max(net.most, m.states);
        }
        for (ProjectionArrays& a : projections)
        {
            a.entries = a.sparse ? a.first[a.rows] : std::int64_t(a.rows) * a.width;
            if (a.delayed && a.entries > std::numeric_limits<int>::max())
                throw std::runtime_error("a projection of more than 2147483647 connections with delays of their own; target cpp_standalone takes it");
            a.d.put(a.delay, a.delayed ? a.entries : 1);
            if (a.sparse) a.rows_at.put(a.first, a.rows + 1), a.targets.put(a.neuron, a.entries);
        }
    }

    // The smallest delay with which population k projects into the component, infinity if it does not
    double shortest(const ComponentArrays& c, int k) const
    {
        double least = INF;
        for (int q : c.incoming)
        {
            const ProjectionArrays& a = projections[q];
            if (a.source - net.inputs != k) continue;
            if (!a.delayed) least = !a.sparse || a.entries ? std::min(least, *a.delay) : least;
            else for (std::int64_t e = 0; e < a.entries; e++) least = std::min(least, a.delay[e]);
        }
        return least;
    }

    // --- a batch -------------------------------------------------------------------------------------------------------

    // The network as the kernels see it, with room for the batch
    void describe()
    {
        const std::size_t trials = net.trials;
        std::vector<Population> of;
        net.states = net.neurons = 0;
        for (int k = 0; k < net.groups; k++)
        {
            PopulationArrays& a = populations[k];
            const ModelInfo& m = MODELS[a.model];
            Population p = {};
            p.model = a.model, p.n = a.n, p.width = a.width, p.S = m.states, p.G = m.learnable;
            p.states = net.states, p.neurons = net.neurons, p.shortest = INF;
            for (const ComponentArrays& c : components)
                for (int i : c.populations) if (i == k) p.shortest = shortest(c, k);
            p.parameters = a.table.data, p.initial = a.first.data, p.bounds = a.threshold.data, p.peak_bounds = a.peak.data;
            for (int i = 0; i < 3; i++) p.controls[i] = a.controls.data + a.control_at[i];
            p.gradients = a.parts.data, p.cotangent = nullptr;
            net.states += std::int64_t(m.states) * a.width, net.neurons += a.width;
            of.push_back(p);
        }
        pops = of;
        std::vector<Projection> q;
        for (ProjectionArrays& a : projections)
        {
            Projection p = {};
            p.source = a.source, p.target = a.target, p.receptor = a.receptor, p.sparse = a.sparse, p.delayed = a.delayed;
            p.timed = a.timed, p.rows = a.rows, p.width = a.width, p.entries = a.entries;
            p.weight = a.w.data, p.delay = a.d.data, p.first = a.rows_at.data, p.neuron = a.targets.data;
            p.weight_gradients = a.w_parts.data, p.delay_gradients = a.d_parts.data, p.sources = -1;
            q.push_back(p);
        }
        std::vector<Train> t;
        for (int k = 0; k < net.inputs + net.populations; k++)
        {
            TrainArrays& a = trains[k];
            Train x = {};
            const bool input = k < net.inputs;
            if (input)
            {
                InputArrays& in = inputs[k];
                x.n = in.n, x.per = int(batch[2 + k]), a.room = std::max(1, x.n * x.per);
                x.given = in.at, x.gradient = in.back.room(trials * x.n * x.per);
            }
            const std::size_t size = trials * a.room;
            x.t = a.t.room(size), x.sens = a.sens.room(size), x.neuron = a.neuron.room(size), x.place = a.place.room(size);
            x.round = a.round.room(size), x.count = a.count.room(trials), x.room = a.room;
            if (!input) x.cause = a.cause.room(size), x.before = a.before.room(size * MODELS[populations[k - net.inputs].model].states);
            t.push_back(x);
        }
        for (std::size_t k = 0; k < projections.size(); k++)
        {
            ProjectionArrays& a = projections[k];
            if (a.sources < 0) continue;
            const std::size_t size = trials * trains[a.source].room, states = size * MODELS[populations[net.populations + a.sources].model].states;
            q[k].sources = net.populations + a.sources, q[k].sent = a.sent.room(trials), q[k].left = a.left.room(trials);
            q[k].amplitude = a.amplitude.room(size), q[k].error = a.error.room(size), q[k].interval = a.interval.room(size);
            q[k].begun = a.begun.room(states), q[k].due = a.due.room(states);
        }
        std::vector<Component> cs;
        for (ComponentArrays& a : components)
        {
            Component c = {};
            c.populations = int(a.populations.size()), c.incoming = int(a.incoming.size()), c.drives = int(a.drives.size());
            c.population = a.population.put(a.populations), c.projection = a.projection.put(a.incoming), c.drive = a.drive.put(a.drives);
            a.feedback = a.needs_states = false, a.states = 0;
            for (int k : a.populations)
            {
                const ModelInfo& m = MODELS[populations[k].model];
                a.needs_states = a.needs_states || m.needs_states;
                a.states += std::int64_t(m.states) * populations[k].width;
                for (int i : a.incoming) a.feedback = a.feedback || projections[i].source - net.inputs == k;
            }
            c.feedback = a.feedback, c.needs_states = a.needs_states && gradient, c.states = a.states, c.room = a.room, c.knots = std::max(1, a.knots);
            c.piece = a.piece.room(trials * a.room.pieces), c.arrival = a.arrival.room(trials * a.room.arrivals);
            c.instant = a.instant.room(trials * a.room.instants), c.own = a.own.room(trials * a.room.owns);
            c.release = a.release.room(trials * a.room.releases), c.released = a.released.room(trials * a.room.releases * net.most);
            c.turned = a.turned.room(trials * a.room.owns * net.most);
            c.knot = a.knot.room(trials * c.knots), c.pieces = a.pieces.room(trials);
            c.kept = c.needs_states ? a.kept.room(trials * a.room.pieces * 2 * a.states) : nullptr;
            cs.push_back(c);
        }
        std::vector<Drive> ds;
        for (std::size_t k = 0; k < drives.size(); k++)
        {
            DriveArrays& a = drives[k];
            Drive d = {};
            const std::int64_t given = batch[2 + net.inputs + k];
            d.population = a.population, d.input = a.input, d.state = a.state, d.knots = a.knots, d.n = populations[a.population].n, d.shared = given <= 1;
            const std::size_t size = std::size_t(given) * a.knots * d.n, wanted = trials * a.knots * d.n;
            d.times = a.at.put(a.times, a.knots), d.jumps = a.jump.put(a.jumps, a.knots), d.values = a.value.put(a.values, size), d.slopes = a.slopes ? a.slope.put(a.slopes, size) : nullptr;
            d.value_gradient = a.value_gradient ? a.value_back.room(wanted) : nullptr;
            d.slope_gradient = a.slope_gradient ? a.slope_back.room(wanted) : nullptr;
            ds.push_back(d);
        }
        std::vector<Sampling> ss;
        for (SamplingArrays& a : samplings)
        {
            const std::size_t size = trials * populations[a.population].n * a.count;
            ss.push_back({a.population, a.state, a.count, a.to.room(size), a.from.room(size)});
        }
        std::vector<std::int64_t> along_at;
        std::int64_t along = 0;
        for (const ProjectionArrays& a : projections)
        {
            along_at.push_back(along);
            if (a.delayed) along += std::int64_t(trials) * trains[a.source].room;
        }
        projected = q;
        net.population = population.put(pops), net.projection = projection.put(q), net.train = trained.put(t);
        net.component = component.put(cs), net.drive = drive.put(ds), net.sampling = sampling.put(ss);
        const std::size_t states = trials * net.states, neurons = trials * net.neurons;
        net.x = x.room(states), net.costate = costate.room(states);
        net.when = when.room(neurons), net.until = until.room(neurons), net.held = held.room(neurons), net.held_end = held_end.room(neurons);
        net.since = since.room(neurons), net.fired = fired.room(neurons), net.counts = counts.room(neurons);
        net.cursor = cursors.room(trials * (projections.size() + drives.size()));
        net.along = alongs.room(along), net.along_at = along_places.put(along_at);
        net.raw = raw.room(trials * raw_room), net.raw_before = raw_before.room(trials * raw_room * net.most), net.raw_room = raw_room;
        const std::size_t out = trials * populations[net.readout].width;
        net.peaks = {peak_value.room(out), peak_time.room(out), peak_slope.room(out), peak_piece.room(out), peak_kind.room(out)};
        const std::size_t top = net.maxima ? trials * populations[net.readout].n : 0;
        net.maxima_values = tops.room(top), net.maxima_error = pulls.room(top);
        net.smallest = smallest.room(trials), net.ties = ties.room(trials), net.failure = failure.room(trials);
        net.overflow = overflow.put(std::vector<int>(components.size() * 5 + net.populations + 1, 0));
    }

    void forward_batch()
    {
        net.trials = int(batch[0]), gradient = batch[1];
        for (int k = 0; k < net.inputs; k++)
        {
            InputArrays& a = inputs[k];
            a.at = a.given.put(a.times, std::size_t(net.trials) * a.n * batch[2 + k]);
        }
        for (ProjectionArrays& a : projections) a.w.put(a.weight, a.entries);
        simulate();
        double gdot = INF, met = 0;
        for (double g : smallest.get(net.trials)) gdot = std::min(gdot, g);
        for (int k : ties.get(net.trials)) met += k;
        results[0] = gdot, results[1] = met;
        for (int k = 0; k < net.populations; k++) results[2 + k] = spikes_of(k);
        if (net.maxima) tops.get(maxima, std::size_t(net.trials) * populations[net.readout].n);
        for (SamplingArrays& a : samplings) a.to.get(a.values, std::size_t(net.trials) * populations[a.population].n * a.count);
        for (int k = 0; k < net.populations; k++) if (populations[k].cotangent) spikes(k);
    }

    double spikes_of(int k) const
    {
        double count = 0;
        for (int n : trains[net.inputs + k].count.get(net.trials)) count += n;
        return count;
    }

    // The batch forward in time, again with more room where there was too little
    void simulate()
    {
        while (true)
        {
            describe();
            if (net.inputs) sort_inputs<<<dim3(net.trials, net.inputs), 256>>>(net);
            check(cudaGetLastError());
            forward<<<net.trials, THREADS>>>(net);
            check(cudaGetLastError());
            check(cudaDeviceSynchronize());
            if (!grow()) break;
        }
        tell_failures();
    }

    // Makes room for what was found to have none; whether anything was
    bool grow()
    {
        const std::vector<int> wanted = overflow.get(components.size() * 5 + net.populations + 1);
        bool any = false;
        const auto larger = [&](int& room, int need) { if (need > room) room = std::max(2 * room, need + need / 2), any = true; };
        for (std::size_t c = 0; c < components.size(); c++)
        {
            Room& r = components[c].room;
            int* const rooms[5] = {&r.pieces, &r.arrivals, &r.instants, &r.owns, &r.releases};
            for (int k = 0; k < 5; k++) larger(*rooms[k], wanted[c * 5 + k]);
        }
        for (int k = 0; k < net.populations; k++) larger(trains[net.inputs + k].room, wanted[components.size() * 5 + k]);
        larger(raw_room, wanted.back());
        return any;
    }

    // The population to which the sources project whose states are a group
    int target_of(int group) const
    {
        for (const ProjectionArrays& a : projections)
            if (net.populations + a.sources == group) return a.target;
        return 0;
    }

    void tell_failures()
    {
        static const char* const words[] = {"", "start", "reset", "runaway", "cascade", "slides", "turns", "spikes", "finite", "steps", "search", "flat", "flat_turn", "amplitude"};
        for (const TrialFailure& f : failure.get(net.trials))
            if (f.kind) throw Failure{words[f.kind], f.kind == AMPLITUDE ? target_of(f.population) : f.population, f.neuron, f.time};
    }

    // Spike times of a population as an array (trials, n, capacity) padded with infinity; what it would need is in
    // results[2 + number of populations + k], and where that is more than there is, nothing is written
    void spikes(int k)
    {
        TrainArrays& a = trains[net.inputs + k];
        PopulationArrays& to = populations[k];
        const std::vector<int> count = a.count.get(net.trials);
        const std::size_t size = std::size_t(net.trials) * a.room;
        const std::vector<double> t = a.t.get(size);
        const std::vector<int> neuron = a.neuron.get(size), place = a.place.get(size);
        int most = 0;
        for (int b = 0; b < net.trials; b++)
            for (int i = 0; i < count[b]; i++) most = std::max(most, place[std::size_t(b) * a.room + i] + 1);
        results[2 + net.populations + k] = most;
        most = std::max(most, 1);
        if (most > to.capacity) return;
        for (int b = 0; b < net.trials; b++)
        {
            double* rows = to.times + std::size_t(b) * to.n * most;
            std::fill_n(rows, std::size_t(to.n) * most, INF);
            for (int i = 0; i < count[b]; i++)
            {
                const std::size_t at = std::size_t(b) * a.room + i;
                rows[std::size_t(neuron[at]) * most + place[at]] = t[at];
            }
        }
    }

    // Chunks of trials, and room for what each sums up
    void divide()
    {
        std::int64_t numbers = 1;
        for (const ProjectionArrays& a : projections) numbers += a.entries + (a.delayed ? a.entries : 1);
        for (const PopulationArrays& a : populations) numbers += std::int64_t(MODELS[a.model].learnable) * a.width;
        net.chunks = std::max(1, std::min({MOST_CHUNKS, net.trials, int(std::min(MOST_BYTES / (8.0 * numbers), double(MOST_CHUNKS)))}));
        for (std::size_t k = 0; k < projections.size(); k++)
        {
            ProjectionArrays& a = projections[k];
            projected[k].weight_gradients = a.w_parts.room(net.chunks * a.entries);
            projected[k].delay_gradients = a.d_parts.room(net.chunks * (a.delayed ? a.entries : 1));
        }
        for (int k = 0; k < net.groups; k++) pops[k].gradients = populations[k].parts.room(std::size_t(net.chunks) * pops[k].G * populations[k].width);
    }

    // Backward in time; what the loss says is on the device
    void differentiate()
    {
        net.projection = projection.put(projected), net.population = population.put(pops);
        backward<<<net.chunks, THREADS>>>(net);
        check(cudaGetLastError());
    }

    void backward_batch()
    {
        divide();
        for (int k = 0; k < net.groups; k++)
        {
            PopulationArrays& a = populations[k];
            if (!a.cotangent) continue;
            pops[k].read = std::max(1, int(results[2 + net.populations + k]));
            pops[k].cotangent = a.pull.put(a.cotangent, std::size_t(net.trials) * a.n * pops[k].read);
        }
        for (SamplingArrays& a : samplings) a.from.put(a.error, std::size_t(net.trials) * populations[a.population].n * a.count);
        if (net.maxima) pulls.put(maxima_error, std::size_t(net.trials) * populations[net.readout].n);
        differentiate();
        for (ProjectionArrays& a : projections)
        {
            sum(a.w_parts, a.w_sum, a.weight_gradient, a.entries);
            sum(a.d_parts, a.d_sum, a.delay_gradient, a.delayed ? a.entries : 1);
        }
        for (int k = 0; k < net.groups; k++)
        {
            PopulationArrays& a = populations[k];
            const std::int64_t n = std::int64_t(pops[k].G) * a.width;
            if (!n) continue;
            std::vector<double> all(n);
            sum(a.parts, a.sum, all.data(), n);
            for (int g = 0; g < pops[k].G; g++) if (a.gradients[g]) std::copy_n(all.data() + std::size_t(g) * a.width, a.width, a.gradients[g]);
        }
        if (net.input_gradients)
            for (int k = 0; k < net.inputs; k++) inputs[k].back.get(inputs[k].gradient, std::size_t(net.trials) * inputs[k].n * batch[2 + k]);
        for (DriveArrays& a : drives)
        {
            const std::size_t wanted = std::size_t(net.trials) * a.knots * populations[a.population].n;
            if (a.value_gradient) a.value_back.get(a.value_gradient, wanted);
            if (a.slope_gradient) a.slope_back.get(a.slope_gradient, wanted);
        }
        check(cudaDeviceSynchronize());
        tell_failures();
    }

    void sum(Buffer<double>& parts, Buffer<double>& total, double* to, std::int64_t n)
    {
        if (!to || !n) return;
        total.room(n);
        reduce<<<int((n + 255) / 256), 256>>>(parts.data, total.data, n, net.chunks);
        check(cudaGetLastError());
        total.get(to, n);
    }

    // Batch after batch; the weights and their moments stay on the device until all are done, so that a failure leaves those of
    // the host as they were
    void train()
    {
        const int n_batches = int(queue.numbers[0]), kind = int(queue.numbers[1]), n_out = populations[net.readout].n;
        const double* factors = queue.numbers + 8;
        Constants constants;
        std::copy_n(queue.numbers + 4, 4, constants.of);
        std::size_t all = 0;
        for (int k = 0; k < n_batches; k++) all += std::size_t(queue.sizes[k]);
        const std::int64_t* label = labels.put(queue.targets, all);
        for (int k = 0; k < net.inputs; k++) inputs[k].at = inputs[k].given.put(inputs[k].queued, all * inputs[k].n * batch[2 + k]);
        for (ProjectionArrays& a : projections)
        {
            a.w.put(a.weight, a.entries);
            if (a.mean) a.means.put(a.mean, a.entries), a.squares.put(a.square, a.entries);
        }
        gradient = true;
        std::size_t done = 0;
        for (int k = 0; k < n_batches; k++)
        {
            batch[0] = net.trials = int(queue.sizes[k]);
            simulate();
            divide();
            const std::size_t outputs = std::size_t(net.trials) * n_out;
            double* error = pulls.room(outputs);
            losses<<<(net.trials + 31) / 32, 32>>>(net, kind, constants, label, kind == FIRST_SPIKES ? read.room(outputs) : nullptr, error, found.room(net.trials));
            check(cudaGetLastError());
            if (kind == FIRST_SPIKES) pops[net.readout].cotangent = error, pops[net.readout].read = 1;
            else net.maxima_error = error;
            differentiate();
            bad.put(std::vector<unsigned long long>(projections.size(), ~0ull));
            for (std::size_t q = 0; q < projections.size(); q++)
            {
                ProjectionArrays& a = projections[q];
                if (!a.mean || !a.entries) continue;
                const AdamStep step = {queue.numbers[2], queue.numbers[3], queue.corrections[2 * k], queue.corrections[2 * k + 1] * factors[q]};
                adam<<<unsigned((a.entries + 255) / 256), 256>>>(a.w_parts.data, a.entries, net.chunks, step, a.w.data, a.means.data, a.squares.data, bad.data + q);
                check(cudaGetLastError());
            }
            check(cudaDeviceSynchronize());
            tell_failures();
            tell_gradients(k);
            report(queue.results + std::size_t(k) * (3 + net.populations), queue.predictions + done);
            done += net.trials, label += net.trials;
            for (int i = 0; i < net.inputs; i++) inputs[i].at += std::int64_t(net.trials) * inputs[i].n * batch[2 + i];
        }
        for (ProjectionArrays& a : projections)
            if (a.mean) a.w.get(const_cast<double*>(a.weight), a.entries), a.means.get(a.mean, a.entries), a.squares.get(a.square, a.entries);
    }
    // The first gradient of a batch that is no number
    void tell_gradients(int k)
    {
        const std::vector<unsigned long long> first = bad.get(projections.size());
        for (std::size_t q = 0; q < projections.size(); q++)
        {
            const ProjectionArrays& a = projections[q];
            if (first[q] != ~0ull) throw Failure{"gradient", a.target, a.sparse ? a.neuron[first[q]] : int(first[q] % a.width), double(k + 1)};
        }
    }
    // What is told of a batch: loss, silent trials, smallest slope, spikes
    void report(double* to, std::int64_t* predictions) const
    {
        std::fill_n(to, 3 + net.populations, 0.0);
        to[2] = INF;
        const std::vector<TrialLoss> of = found.get(net.trials);
        for (int b = 0; b < net.trials; b++) to[0] += of[b].value / net.trials, to[1] += of[b].silent, predictions[b] = of[b].prediction;
        for (double g : smallest.get(net.trials)) to[2] = std::min(to[2], g);
        for (int p = 0; p < net.populations; p++) to[3 + p] = spikes_of(p);
    }

    std::int64_t* batch = nullptr;
    double *results = nullptr, *maxima = nullptr;
    const double* maxima_error = nullptr;
    bool gradient = true;
    double tolerance = 0;
    int raw_room = 256;
    Network net = {};
    std::vector<SamplingArrays> samplings;
    std::vector<InputArrays> inputs;
    std::vector<PopulationArrays> populations;
    std::vector<ProjectionArrays> projections;
    std::vector<ComponentArrays> components;
    std::vector<DriveArrays> drives;
    std::vector<TrainArrays> trains;
    std::vector<Population> pops;
    std::vector<Projection> projected;
    Table<Population> population;
    Table<Projection> projection;
    Table<Train> trained;
    Table<Component> component;
    Table<Drive> drive;
    Table<Sampling> sampling;
    Queue queue = {};
    Buffer<std::int64_t> labels;
    Buffer<TrialLoss> found;
    Buffer<unsigned long long> bad;
    Buffer<double> read;
    Buffer<Stop> stops;
    Buffer<Reading> readings;
    Buffer<Raw> raw;
    Buffer<TrialFailure> failure;
    Buffer<double> x, costate, when, until, raw_before, peak_value, peak_time, peak_slope, tops, pulls, smallest;
    Buffer<int> held, held_end, since, fired, counts, cursors, alongs, peak_piece, peak_kind, ties, overflow;
    Table<std::int64_t> along_places;
};

}  // namespace snn
