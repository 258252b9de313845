// A network and a trial of it, as the simulation has them.
#pragma once
#include "neurons.h"

namespace snn {

struct Projection
{
    int source, target, receptor;  // source: inputs count first
    bool timed;            // whether sensitivities to the times of its arrivals are wanted
    bool sparse, delayed;          // sparse: rows of entries; delayed: every entry has a delay of its own
    bool delay_learnable;          // whether the gradient by delays is wanted
    int rows, width;               // dense: length of a padded row
    int sources = -1;              // the states of its source neurons, see sources.h; none
    const double* weight = nullptr;
    const double* delay = nullptr;  // one, or one for each entry
    const std::int64_t* first = nullptr;  // sparse: where the entries of a row begin
    const int* neuron = nullptr;          // sparse: their targets; of a row by delay, where they differ
    double *weight_gradient = nullptr, *delay_gradient = nullptr;  // where the sums over trials go
    std::int64_t entries() const { return sparse ? first[rows] : std::int64_t(rows) * width; }
    Row row(int i) const
    {
        if (sparse) return {weight + first[i], neuron + first[i], int(first[i + 1] - first[i])};
        return {weight + std::size_t(i) * width, nullptr, width};
    }
};

// An input of a population that currents drive: at every knot its two states are set, the current and, behind it, its slope.
// Where the current jumps, conditions that read it are decided anew; input: its place among those of its population, -1 where
// no condition does.
struct Drive
{
    int population, input, state, knots;
    const double *times, *jumps;
    const std::int64_t* trials;                    // 1 where all trials share the values
    const double *values, *slopes;                 // (trials, knots, n); slopes: null for 0
    double *value_gradient, *slope_gradient;       // the same of all trials; null where they are not wanted
    std::size_t row(int trial, int knot, int n) const { return ((*trials > 1 ? std::size_t(trial) * knots : 0) + knot) * n; }
    std::size_t gradient_row(int trial, int knot, int n) const { return (std::size_t(trial) * knots + knot) * n; }
};

struct Component
{
    std::vector<int> populations, incoming, drives;
    double shortest = INF;  // delay of what it projects to itself
    double soonest = INF;   // until a spike may be felt in it at all, by its own neuron's release, too
};

struct Arrival { int projection, spike, entry; };  // entry: of a sparse projection with delays of its own, else -1
// A spike by a crossing, or, of another kind, an event that is no spike: `spike` is its place among the turns then
struct Own { double t; int population, spike, kind; };
struct Release { double t; int population, neuron, spike; };  // of a refractory neuron
struct Later { bool operator()(const Release& a, const Release& b) const { return a.t > b.t || (a.t == b.t && a.spike > b.spike); } };
struct Knot { int drive, number; };
// Knots, releases and arrivals at t, the spikes that they cause at that instant, then a flow to `end` with crossings; each by
// where its list ends. An instant of several rounds is several pieces, of which all but the last are of no length.
struct Piece { double t, end; int releases, arrivals, instants, owns, samples, knots; };
// The same of a sweep, where nothing but arrivals and spikes can be: it ends where the next one begins
struct Stretch { double t; int arrivals, owns; };

struct ComponentTape
{
    bool scattered = false;  // see sparse.h: how the trial was run
    Plain<Piece> pieces;
    Plain<Stretch> stretches;  // behind the last one the end of the trial
    int fullest = 0;           // most arrivals of a stretch
    Plain<Arrival> arrivals;  // of a sweep to which one projection comes there may be none: they are its source's spikes
    Plain<Own> instants, owns;
    Turns turns;
    std::vector<Release> releases;
    std::vector<Knot> knots;
    std::vector<double> released;  // states there, S for each release
    std::vector<std::size_t> released_at;
    std::vector<std::pair<int, int>> held;  // who is refractory at the end: population, neuron
    std::vector<double> checkpoints;
    // where the arrivals of the instant at which piece n begins end
    int arrivals_until(std::size_t n) const
    {
        while (n + 1 < pieces.size() && pieces[n + 1].t == pieces[n].t) n++;
        return pieces[n].arrivals;
    }
    // Another piece, with what has been found so far (of a sweep spikes come later). Field by field: to copy a whole one waits for all of its parts.
    Piece& add(double t, double end, int samples)
    {
        Piece& p = pieces.emplace_back();
        p.t = t, p.end = end, p.releases = int(releases.size()), p.arrivals = int(arrivals.size());
        p.instants = int(instants.size()), p.owns = int(owns.size()), p.samples = samples, p.knots = int(knots.size());
        return p;
    }
    void own(double t, int population, int spike, int kind = SPIKE)
    {
        Own& o = owns.emplace_back();
        o.t = t, o.population = population, o.spike = spike, o.kind = kind;
    }
    void clear() { pieces.clear(), stretches.clear(), fullest = 0, arrivals.clear(), instants.clear(), owns.clear(), checkpoints.clear(), releases.clear(), knots.clear(), released.clear(), released_at.clear(), held.clear(), turns.clear(); }
};

// Spikes as the states of their source neuron see them, see sources.h
struct SentSpikes
{
    std::vector<double> amplitude, error;  // what weights are multiplied by, and what the loss says of that
    std::vector<double> interval;          // since the neuron's spike before, or since time 0
    std::vector<double> start, before;     // states just after that, and just before the spike: S for each
    std::vector<int> last;                 // of every neuron: its last spike so far, -1 for none
    int left = 0;                          // backward: spikes whose errors have not been handed on
    int size() const { return int(amplitude.size()); }
    void clear(int n) { amplitude.clear(), interval.clear(), start.clear(), before.clear(), last.assign(n, -1); }
};

struct Trial
{
    int number = 0;  // in its batch
    std::vector<Train> trains;  // of inputs, then of populations
    std::vector<ComponentTape> tapes;
    std::vector<Peak> peaks;
    std::vector<SentSpikes> sent;  // for each projection's sources that have states
};

// A state that is read at given times
struct Sampling
{
    int population, state, count;
    const double* times;
    double* values;       // (trials, n, count)
    const double* error;  // what the loss says of them, likewise
};
struct Reading { int sampling, place; };
struct Stop { double t; std::vector<Reading> readings; };  // a time at which states are read

struct Network
{
    int populations = 0;  // neurons behind these are states of sources
    int inputs = 0, readout = 0, observed = 0;
    bool maxima = false;  // whether those of the observed state of the read-out are wanted
    double duration = 0, window = 0, tolerance = 0, max_spikes = 0;
    bool input_gradients = true;
    bool sweeping = true;  // whether populations without feedback are swept where they may be
    int scattering = -1;  // whether arrivals are scattered where they may be: yes, no, or -1: where it pays
    std::vector<Sampling> samplings;
    std::vector<Stop> stops;  // of all samplings, by time
    std::vector<Projection> projections;
    std::vector<Component> components;
    std::vector<Drive> drives;
};

// Derivatives of the loss by the spike times of one population in one trial
struct SpikeCotangent
{
    int population;
    const double* values;  // (n, capacity)
    int capacity;
};

// What the loss says of one trial: of the spikes of populations, and of the read-out
struct Cotangent
{
    const SpikeCotangent* spikes = nullptr;
    int populations = 0;
    const double* maxima = nullptr;   // (n)
    int sampled = -1;                 // the number of the trial, where samples are read
};

// One trial of a population to which nothing that it does comes back, see sweep.h
struct Sweep
{
    const Network& net;
    Trial& trial;
    ComponentTape& tape;  // forward: stretches and arrivals are given, spikes are found
    bool maxima;          // whether the largest values of the observed state are wanted
    int only;             // the projection with which all arrivals come, -1 where there are several
    int receptor;         // likewise
    // forward: where the weights of every arrival begin; behind them the last once more for each arrival of the fullest
    // stretch, so that as many can be fetched ahead
    const double* const* rows = nullptr;
    const Cotangent* loss = nullptr;
    std::vector<Sums>*weight_sums = nullptr, *delay_sums = nullptr;

    int stretches() const { return int(tape.stretches.size()) - 1; }
    int projection(int a) const { return only >= 0 ? only : tape.arrivals[a].projection; }
    int spike(int a) const { return only >= 0 ? a : tape.arrivals[a].spike; }
    const Projection& of(int a) const { return net.projections[projection(a)]; }
    void collect(int a, double s) const { trial.trains[of(a).source].sens[spike(a)] += s, (*delay_sums)[projection(a)][0] += s; }
};

}  // namespace snn
