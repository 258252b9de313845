// A project around the engine: it reads a batch and the values of a network from files, has it simulated and differentiated,
// and writes the results. What the network is, is in plan.h; the main file includes the engine's Program before this.
#pragma once
#include <cmath>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>
#include <sys/file.h>
#include "losses.h"
#include "npy.h"

namespace snn_project {

// --- what plan.h says ---------------------------------------------------------------------------------------------------------

struct Dim { std::int64_t n; int room; };  // a number or, where `room` is not -1, the place of one in Plan::rooms
typedef std::vector<Dim> Dims;
struct File { const char *path, *type; Dims shape; };
struct Field { const char* key; int bytes; Dims shape; };  // an array that the engine shares; bytes: of one number
enum Kind { NUMBER, ROOM, FIELD };
struct Word { Kind kind; std::int64_t value; };  // what the engine reads: a number, one of the rooms, the place of a field
struct Fixed { File file; std::uint32_t checksum; };  // not to be replaced: of its numbers
struct Constant { const char* key; Fixed fixed; };
struct Input { int n; File times, gradient; };
struct Current { int n, least; File samples, gradient; };
struct Part { int current, drive, samples, fractions; double interval; bool linear; };  // samples, fractions: of Plan::knots
struct Drive { int population, knots, room; bool linear, wanted; std::vector<Part> parts; };
struct Gain { int channels, n; bool learnable; File weights, gradient; };
struct Projection
{
    int rows, columns, width;  // width: of a row of the engine's, where it has all connections
    bool sparse, delayed, learns_weights, learns_delays;
    Fixed mask;  // without a path where all connections exist
    File weights, delay, weight_gradient, delay_gradient;
};
struct SourcePart { int source, place, n; };  // of a gradient: what states of sources say, and of how many neurons
struct Learned { bool each; File gradient; std::vector<SourcePart> more; };  // a parameter: whether every neuron has its own
struct Population { int n, room, spikes; bool spiking; std::vector<Learned> learned; File times; };  // rooms: of the engine's, of the file's
enum Read { SPIKES, MAXIMA, SAMPLES };
struct Seen { Read kind; int place, population; File value, derivative; };  // place: of a population, or of samples
enum Loss { FROM_FILES, FIRST_SPIKES, LARGEST_VALUES };
struct Message { const char* what; int population; bool neuron, time; const char* text; };
struct Plan
{
    std::vector<const char*> rooms;
    int trials, threads;  // their rooms; threads: -1 where there are none to choose
    std::vector<Word> words;
    std::vector<Field> fields;
    std::vector<Constant> constants;
    std::vector<Fixed> knots;
    std::vector<Input> inputs;
    std::vector<Current> currents;
    std::vector<Drive> drives;
    std::vector<Gain> gains;
    std::vector<Projection> projections;
    std::vector<Population> populations;
    std::vector<Seen> observed;
    bool gradient, input_gradients;
    Loss loss;
    std::vector<double> loss_constants;
    File targets, value, predictions;
    double duration;
    std::vector<Message> failures;
    const char* not_finite;
};

// --- the run ------------------------------------------------------------------------------------------------------------------

inline std::string number_text(double x)
{
    char text[40];
    std::snprintf(text, sizeof text, "%.9g", x);
    return text;
}
inline std::string filled(std::string text, const std::string& hole, const std::string& with)
{
    const std::size_t at = text.find(hole);
    return at == std::string::npos ? text : text.replace(at, hole.size(), with);
}

constexpr const char *RESULTS = "results", *MADE = "results.tmp";  // folders; the latter becomes the former once it is complete

class Run
{
public:
    explicit Run(const Plan& plan) : plan(plan), room(plan.rooms.size(), 0), bound(plan.rooms.size())
    {
        for (const Population& p : plan.populations) if (p.room >= 0) room[p.room] = 8;
    }
    ~Run() { std::free(memory); }
    Run(const Run&) = delete;

    void everything(bool differentiate, int threads)
    {
        gradient = differentiate;
        if (plan.threads >= 0) room[plan.threads] = threads;
        read();
        while (simulate()) {}
        std::filesystem::create_directory(MADE);
        write_forward();
        if (gradient) backward();
        std::filesystem::rename(MADE, RESULTS);
    }

    // Why the network has no trajectory
    std::string explain(const snn::Failure& f) const
    {
        for (const Message& m : plan.failures)
            if (std::string(m.what) == f.what && m.population == f.population && m.neuron == (f.neuron >= 0) && m.time == (f.time >= 0))
                return filled(filled(m.text, "@neuron@", std::to_string(f.neuron)), "@time@", number_text(f.time));
        return std::string("population ") + std::to_string(f.population) + ": " + f.what;
    }

private:

    // --- files ----------------------------------------------------------------------------------------------------------------

    std::string wanted(const Dims& shape) const
    {
        std::string text = "(";
        for (std::size_t k = 0; k < shape.size(); k++)
        {
            const Dim& d = shape[k];
            text += k ? ", " : "";
            text += d.room < 0 ? std::to_string(d.n) : bound[d.room].empty() ? plan.rooms[d.room] : std::to_string(room[d.room]);
        }
        return text + (shape.size() == 1 ? ",)" : ")");
    }

    // An array of the shape that is expected; a size that is not known yet is learned from it
    Npy read(const File& file)
    {
        Npy found = read_npy(file.path, file.type);
        bool right = found.shape.size() == file.shape.size();
        std::string because;
        for (std::size_t k = 0; right && k < found.shape.size(); k++)
        {
            const Dim& d = file.shape[k];
            const bool known = d.room < 0 || !bound[d.room].empty();
            right = !known || found.shape[k] == (d.room < 0 ? d.n : room[d.room]);
            if (!right && d.room >= 0) because = std::string(", for as many ") + plan.rooms[d.room] + " as " + bound[d.room];
        }
        if (!right) throw Wrong(std::string(file.path) + ": shape " + as_text(found.shape) + "; expected " + wanted(file.shape) + because);
        for (std::size_t k = 0; k < found.shape.size(); k++) if (file.shape[k].room >= 0) bind(file.shape[k].room, found.shape[k], file.path);
        return found;
    }
    Npy read(const Fixed& fixed)
    {
        Npy found = read(fixed.file);
        if (checksum(found.data) != fixed.checksum) throw Wrong(std::string(fixed.file.path) + ": is not as it was written; what is in plan/ can't be replaced");
        return found;
    }
    void bind(int which, std::int64_t size, const std::string& by)
    {
        if (bound[which].empty()) room[which] = size, bound[which] = by;
    }

    static void refuse_infinite(const Npy& array, const std::string& path)
    {
        for (std::size_t k = 0; k < count(array.shape); k++)
            if (!std::isfinite(array.as<double>()[k])) throw Wrong(path + ": holds a value that is not finite, at place " + std::to_string(k));
    }

    void read()
    {
        for (const Input& in : plan.inputs)
        {
            given.push_back(read(in.times));
            check_times(given.back(), in);
        }
        for (const Current& c : plan.currents)
        {
            // in two dimensions all trials share them
            File file = c.samples;
            Npy found = read_npy(file.path, file.type);
            if (found.shape.size() == 2) file.shape.erase(file.shape.begin());
            samples.push_back(read(file));
            if (samples.back().shape.back() < c.least)
                throw Wrong(std::string(file.path) + ": " + std::to_string(samples.back().shape.back()) + " samples; a trial needs " + std::to_string(c.least));
            refuse_infinite(samples.back(), file.path);
        }
        if (!bound[plan.trials].empty() && room[plan.trials] < 1) throw Wrong(bound[plan.trials] + ": no trials");
        for (const Projection& p : plan.projections)
        {
            weights.push_back(read(p.weights)), delays.push_back(read(p.delay));
            refuse_infinite(weights.back(), p.weights.path), refuse_infinite(delays.back(), p.delay.path);
            for (std::size_t k = 0; k < count(delays.back().shape); k++)
                if (delays.back().as<double>()[k] < 0) throw Wrong(std::string(p.delay.path) + ": holds a negative delay, at place " + std::to_string(k));
            entries.push_back(p.sparse ? entries_of(p, delays.back()) : Entries());
        }
        for (const Gain& g : plan.gains) gains.push_back(read(g.weights)), refuse_infinite(gains.back(), g.weights.path);
        for (const Constant& c : plan.constants) constants.push_back(read(c.fixed));
        for (const Fixed& f : plan.knots) knots.push_back(read(f));
        if (gradient && plan.loss != FROM_FILES)
        {
            targets = read(plan.targets);
            if (room[plan.trials] < 1) throw Wrong(bound[plan.trials] + ": no trials");
            const std::int64_t n = plan.populations[plan.observed[0].population].n;
            for (std::size_t b = 0; b < count(targets.shape); b++)
                if (labels()[b] < 0 || labels()[b] >= n)
                    throw Wrong(std::string(plan.targets.path) + ": label " + std::to_string(labels()[b]) + " of trial " + std::to_string(b) + " is none of the " + std::to_string(n) + " outputs");
        }
        bind(plan.trials, 1, "the network, which has no inputs");
    }
    const std::int64_t* labels() const { return targets.as<std::int64_t>(); }

    void check_times(const Npy& array, const Input& in) const
    {
        const std::int64_t per = array.shape[2];
        const double* t = array.as<double>();
        for (std::int64_t k = 0; k < std::int64_t(count(array.shape)); k++)
        {
            const char* wrong = nullptr;
            if (std::isnan(t[k])) wrong = "a spike time is NaN; use inf where there is no spike";
            else if (t[k] < 0) wrong = "a spike time is negative";
            else if (k % per && t[k] < t[k - 1]) wrong = "spike times are not ascending; sort them, padding with inf at the end";
            else if (t[k] >= plan.duration && std::isfinite(t[k])) wrong = "a spike is not before the end of the trial; times are in seconds";
            if (wrong) throw Wrong(std::string(in.times.path) + ": trial " + std::to_string(k / per / in.n) + ", source " + std::to_string(k / per % in.n) + ": " + wrong);
        }
    }

    // Rows of the connections that exist, by delay where they differ, then target, as snnmodels/events/schema.py has them
    struct Entries { std::vector<std::int64_t> first, place; std::vector<int> neuron; };
    Entries entries_of(const Projection& p, const Npy& delay)
    {
        Npy mask;
        if (p.mask.file.path) mask = read(p.mask);
        Entries e;
        e.first.push_back(0);
        for (std::int64_t i = 0; i < p.rows; i++)
        {
            std::vector<int> row;
            for (int j = 0; j < p.columns; j++) if (!p.mask.file.path || mask.data[i * p.columns + j]) row.push_back(j);
            const double* d = delay.as<double>() + (p.delayed ? i * p.columns : 0);
            if (p.delayed) std::stable_sort(row.begin(), row.end(), [d](int a, int b) { return d[a] < d[b]; });
            for (int j : row) e.neuron.push_back(j), e.place.push_back(i * p.columns + j);
            e.first.push_back(std::int64_t(e.neuron.size()));
        }
        return e;
    }

    // --- what the engine shares -----------------------------------------------------------------------------------------------

    std::size_t size(const Dims& shape) const
    {
        std::size_t n = 1;
        for (const Dim& d : shape) n *= std::size_t(d.room < 0 ? d.n : std::max<std::int64_t>(1, room[d.room]));
        return n;
    }
    static std::size_t aligned(std::size_t n) { return (n + 63) / 64 * 64; }
    template <class T> T* field(const std::string& key) const
    {
        const auto found = places.find(key);
        if (found == places.end()) throw std::logic_error("no array " + key);
        return reinterpret_cast<T*>(memory + found->second);
    }
    double* numbers(const std::string& key) const { return field<double>(key); }
    static std::string of(const char* what, std::size_t k, const char* which) { return what + std::to_string(k) + which; }

    void lay_out()
    {
        std::size_t end = aligned(8 * plan.words.size());
        std::vector<std::size_t> at;
        for (const Field& f : plan.fields) at.push_back(end), places[f.key] = end, end += aligned(size(f.shape) * f.bytes);
        std::free(memory);
        void* made = nullptr;
        if (posix_memalign(&made, 64, std::max<std::size_t>(end, 4096))) throw std::bad_alloc();
        memory = static_cast<char*>(made);
        std::memset(memory, 0, std::max<std::size_t>(end, 4096));
        std::int64_t* words = reinterpret_cast<std::int64_t*>(memory);
        for (const Word& w : plan.words) *words++ = w.kind == NUMBER ? w.value : w.kind == ROOM ? room[w.value] : std::int64_t(at[w.value]);
        program.lend(memory);
    }

    void fill()
    {
        for (std::size_t k = 0; k < constants.size(); k++) std::memcpy(field<char>(plan.constants[k].key), constants[k].data.data(), constants[k].data.size());
        std::int64_t* batch = field<std::int64_t>("batch");
        batch[0] = trials(), batch[1] = gradient;
        for (std::size_t k = 0; k < given.size(); k++)
        {
            batch[2 + k] = given[k].shape[2];
            std::memcpy(field<char>(of("input", k, ".times")), given[k].data.data(), given[k].data.size());
        }
        for (std::size_t k = 0; k < plan.projections.size(); k++)
        {
            const Projection& p = plan.projections[k];
            put(k, weights[k], numbers(of("projection", k, ".w")));
            if (p.delayed) put(k, delays[k], numbers(of("projection", k, ".delay")));
            else *numbers(of("projection", k, ".delay")) = *delays[k].as<double>();
            if (!p.sparse) continue;
            std::copy(entries[k].first.begin(), entries[k].first.end(), field<std::int64_t>(of("projection", k, ".first")));
            if (!entries[k].neuron.empty()) std::copy(entries[k].neuron.begin(), entries[k].neuron.end(), field<int>(of("projection", k, ".neuron")));
        }
        for (std::size_t k = 0; k < plan.drives.size(); k++) batch[2 + given.size() + k] = drive(k);
    }
    std::int64_t trials() const { return room[plan.trials]; }

    // A value of every connection, from a matrix to rows as the engine has them, and back
    void put(std::size_t k, const Npy& matrix, double* to) const
    {
        const Projection& p = plan.projections[k];
        const double* from = matrix.as<double>();
        if (p.sparse) for (std::size_t e = 0; e < entries[k].place.size(); e++) to[e] = from[entries[k].place[e]];
        else for (std::int64_t i = 0; i < p.rows; i++) std::copy_n(from + i * p.columns, p.columns, to + i * p.width);
    }
    std::vector<double> whole(std::size_t k, const std::string& key) const
    {
        const Projection& p = plan.projections[k];
        std::vector<double> to(std::size_t(p.rows) * p.columns, 0.0);
        if (entries[k].place.empty() && p.sparse) return to;
        const double* from = numbers(key);
        if (p.sparse) for (std::size_t e = 0; e < entries[k].place.size(); e++) to[entries[k].place[e]] = from[e];
        else for (std::int64_t i = 0; i < p.rows; i++) std::copy_n(from + i * p.width, p.columns, &to[i * p.columns]);
        return to;
    }

    // --- currents: see snnmodels/events/drives.py -----------------------------------------------------------------------------

    // Calls f(knot, index of the sample that is due, of the next or -1, how far the knot is on the way to that) for those with one
    void each_knot(const Drive& d, const Part& part, const std::function<void(std::int64_t, std::int64_t, double)>& f) const
    {
        const std::int64_t* due = knots[part.samples].as<std::int64_t>();
        const double* fraction = knots[part.fractions].as<double>();
        for (int m = 0; m < d.knots; m++) if (due[m] >= 0) f(m, due[m], fraction[m]);
    }

    // Sets the values of a driven input at its knots; returns how many trials have some of their own
    std::int64_t drive(std::size_t k)
    {
        const Drive& d = plan.drives[k];
        const std::int64_t n = plan.populations[d.population].n, own = room[d.room];
        double *values = numbers(of("drive", k, ".values")), *slopes = d.linear ? numbers(of("drive", k, ".slopes")) : nullptr;
        for (const Part& part : d.parts)
        {
            const Npy& from = samples[part.current];
            const std::int64_t channels = plan.currents[part.current].n, length = from.shape.back();
            for (std::int64_t b = 0; b < own; b++)
                each_knot(d, part, [&](std::int64_t m, std::int64_t due, double fraction) {
                    for (std::int64_t c = 0; c < channels; c++)
                    {
                        const double* x = from.as<double>() + ((from.shape.size() == 3 ? b * channels : 0) + c) * length + due;
                        const double rise = part.linear ? x[1] - x[0] : 0.0, value = x[0] + fraction * rise;
                        const double* w = gains[part.drive].as<double>() + c * n;
                        for (std::int64_t j = 0; j < n; j++) values[(b * d.knots + m) * n + j] += value * w[j];
                        if (slopes) for (std::int64_t j = 0; j < n; j++) slopes[(b * d.knots + m) * n + j] += rise / part.interval * w[j];
                    }
                });
        }
        return own;
    }

    void pull_currents()
    {
        std::vector<std::vector<double>> of_gains, of_samples;
        for (const Gain& g : plan.gains) of_gains.emplace_back(std::size_t(g.channels) * g.n, 0.0);
        for (const Npy& x : samples) of_samples.emplace_back(count(x.shape), 0.0);
        for (std::size_t k = 0; k < plan.drives.size(); k++)
        {
            const Drive& d = plan.drives[k];
            if (!d.wanted) continue;
            const std::int64_t n = plan.populations[d.population].n;
            const double *values = numbers(of("drive", k, ".gvalues")), *slopes = d.linear ? numbers(of("drive", k, ".gslopes")) : nullptr;
            for (const Part& part : d.parts)
            {
                const Npy& from = samples[part.current];
                const std::int64_t channels = plan.currents[part.current].n, length = from.shape.back();
                for (std::int64_t b = 0; b < trials(); b++)
                    each_knot(d, part, [&](std::int64_t m, std::int64_t due, double fraction) {
                        const double *by_value = values + (b * d.knots + m) * n, *by_slope = slopes ? slopes + (b * d.knots + m) * n : nullptr;
                        for (std::int64_t c = 0; c < channels; c++)
                        {
                            const std::size_t at = ((from.shape.size() == 3 ? b * channels : 0) + c) * length + due;
                            const double *x = from.as<double>() + at, *w = gains[part.drive].as<double>() + c * n;
                            const double rise = part.linear ? x[1] - x[0] : 0.0, value = x[0] + fraction * rise;
                            double* g = &of_gains[part.drive][c * n];
                            double to_value = 0, to_slope = 0;
                            for (std::int64_t j = 0; j < n; j++) g[j] += value * by_value[j], to_value += w[j] * by_value[j];
                            if (by_slope) for (std::int64_t j = 0; j < n; j++) g[j] += rise / part.interval * by_slope[j], to_slope += w[j] * by_slope[j];
                            of_samples[part.current][at] += to_value;
                            if (!part.linear) continue;
                            const double by_rise = fraction * to_value + to_slope / part.interval;
                            of_samples[part.current][at] -= by_rise, of_samples[part.current][at + 1] += by_rise;
                        }
                    });
            }
        }
        for (std::size_t k = 0; k < gains.size(); k++) if (plan.gains[k].learnable) write_gradient(plan.gains[k].gradient, gains[k].shape, of_gains[k].data());
        for (std::size_t k = 0; k < samples.size(); k++) if (plan.input_gradients) write_gradient(plan.currents[k].gradient, samples[k].shape, of_samples[k].data());
    }

    // --- forward --------------------------------------------------------------------------------------------------------------

    // Whether it has to be done again, with more room for spikes
    bool simulate()
    {
        for (const Drive& d : plan.drives)
        {
            room[d.room] = 1;
            for (const Part& part : d.parts) if (samples[part.current].shape.size() == 3) room[d.room] = trials();
        }
        lay_out();
        fill();
        program.ask("layout");
        program.ask("values");
        program.ask("forward");
        bool again = false;
        for (std::size_t k = 0; k < plan.populations.size(); k++)
        {
            const Population& p = plan.populations[k];
            if (!p.spiking) continue;
            program.ask("spikes", int(k));
            const std::int64_t most = std::int64_t(numbers("results")[2 + plan.populations.size() + k]);
            if (most > room[p.room]) room[p.room] = most, again = true;
            room[p.spikes] = std::max<std::int64_t>(1, most), bound[p.spikes] = "results";
        }
        return again;
    }

    void write(const File& file, const Shape& shape, const void* data)
    {
        const std::filesystem::path path = std::string(MADE) + (file.path + std::strlen(RESULTS));
        std::filesystem::create_directories(path.parent_path());
        write_npy(path.string(), file.type, shape, data);
    }
    Shape shape_of(const File& file) const
    {
        Shape shape;
        for (const Dim& d : file.shape) shape.push_back(d.room < 0 ? d.n : room[d.room]);
        return shape;
    }

    std::string key_of(const Seen& s, bool derivative) const
    {
        if (s.kind == SPIKES) return of("population", s.place, derivative ? ".cotangent" : ".times");
        if (s.kind == MAXIMA) return derivative ? "maxima_error" : "maxima";
        return of("samples", s.place, derivative ? ".error" : ".value");
    }

    void write_forward()
    {
        for (std::size_t k = 0; k < plan.populations.size(); k++)
            if (plan.populations[k].spiking) write(plan.populations[k].times, shape_of(plan.populations[k].times), numbers(of("population", k, ".times")));
        for (const Seen& s : plan.observed) if (s.kind != SPIKES) write(s.value, shape_of(s.value), numbers(key_of(s, false)));
    }

    // --- backward -------------------------------------------------------------------------------------------------------------

    void backward()
    {
        if (plan.loss == FROM_FILES) for (const Seen& s : plan.observed) read_derivative(s);
        else evaluate(plan.observed[0]);
        program.ask("backward");
        for (std::size_t k = 0; k < plan.projections.size(); k++)
        {
            const Projection& p = plan.projections[k];
            if (p.learns_weights) write_gradient(p.weight_gradient, {p.rows, p.columns}, whole(k, of("projection", k, ".gw")).data());
            if (!p.learns_delays) continue;
            if (p.delayed) write_gradient(p.delay_gradient, {p.rows, p.columns}, whole(k, of("projection", k, ".gdelay")).data());
            else write_gradient(p.delay_gradient, {}, numbers(of("projection", k, ".gdelay")));
        }
        for (std::size_t k = 0; k < plan.populations.size(); k++)
            for (std::size_t g = 0; g < plan.populations[k].learned.size(); g++)
            {
                const Learned& learned = plan.populations[k].learned[g];
                const double* each = numbers(of("population", k, (".g" + std::to_string(g)).c_str()));
                double sum = std::accumulate(each, each + plan.populations[k].n, 0.0);
                for (const SourcePart& part : learned.more)
                {
                    const double* those = numbers(of("source", part.source, (".g" + std::to_string(part.place)).c_str()));
                    sum += std::accumulate(those, those + part.n, 0.0);
                }
                if (learned.each) write_gradient(learned.gradient, {plan.populations[k].n}, each);
                else write_gradient(learned.gradient, {}, &sum);
            }
        pull_currents();
        if (!plan.input_gradients) return;
        for (std::size_t k = 0; k < given.size(); k++) write_gradient(plan.inputs[k].gradient, given[k].shape, numbers(of("input", k, ".gradient")));
    }

    void write_gradient(const File& file, const Shape& shape, const double* data)
    {
        for (std::size_t k = 0; k < count(shape); k++)
            if (!std::isfinite(data[k]))
            {
                const std::string key = std::filesystem::path(file.path).stem().string();
                char slope[40];
                std::snprintf(slope, sizeof slope, "%.3g", numbers("results")[0]);
                throw std::runtime_error(filled(filled(plan.not_finite, "@key@", key), "@slope@", slope));
            }
        write(file, shape, data);
    }

    void read_derivative(const Seen& s)
    {
        const Npy d = read(s.derivative);
        refuse_infinite(d, s.derivative.path);
        const std::size_t n = count(d.shape);
        if (s.kind == SPIKES)
        {
            const double* t = numbers(key_of(s, false));
            for (std::size_t k = 0; k < n; k++)
                if (!std::isfinite(t[k]) && d.as<double>()[k] != 0) throw Wrong(std::string(s.derivative.path) + ": must be 0 where a spike time is inf (padding)");
        }
        std::memcpy(field<char>(key_of(s, true)), d.data.data(), d.data.size());
    }

    void evaluate(const Seen& s)
    {
        const int n = plan.populations[s.population].n, all = int(trials());
        const std::int64_t per = s.kind == SPIKES ? room[plan.populations[s.population].spikes] : 1;
        const double* read = numbers(key_of(s, false));
        double *to = numbers(key_of(s, true)), value = 0;
        std::vector<double> first(n), by(n);
        std::vector<std::int64_t> predicted;
        for (int b = 0; b < all; b++)
        {
            for (int j = 0; j < n; j++) first[j] = read[(std::int64_t(b) * n + j) * per];
            const double* constants = plan.loss_constants.data();
            const snn::TrialLoss found = plan.loss == FIRST_SPIKES ? snn::ttfs(first.data(), n, labels()[b], all, constants, by.data())
                                                                   : snn::max_voltage(first.data(), n, labels()[b], all, constants, by.data());
            for (int j = 0; j < n; j++) to[(std::int64_t(b) * n + j) * per] = by[j];
            value += found.value / all;
            predicted.push_back(found.prediction);
        }
        write(plan.value, {}, &value);
        write(plan.predictions, {all}, predicted.data());
    }

    const Plan& plan;
    snn::Program program;
    bool gradient = false;
    std::vector<std::int64_t> room;
    std::vector<std::string> bound;  // the file that has told a room, by place; empty: nobody has
    std::vector<Npy> given, samples, weights, delays, gains, constants, knots;
    Npy targets;
    std::vector<Entries> entries;
    char* memory = nullptr;
    std::map<std::string, std::size_t> places;
};

// The program: 0 as its status where results are there, else 1 and a line that says why; `missing`: what it can't run without
inline int main_of(const Plan& plan, const std::string& missing, int words, char** given)
{
    bool differentiate = plan.gradient;
    int threads = 1;
    const std::string usage = std::string("usage: ") + given[0] + (plan.gradient ? " [--forward]" : "") + (plan.threads >= 0 ? " [--threads N]" : "");
    for (int k = 1; k < words; k++)
    {
        const std::string word = given[k];
        char* end = nullptr;
        if (word == "--forward") differentiate = false;
        else if (word == "--threads" && plan.threads >= 0 && k + 1 < words && (threads = int(std::strtol(given[++k], &end, 10))) > 0 && threads < 1024 && !*end) continue;
        else return std::fprintf(stderr, "%s\n", usage.c_str()), 1;
    }
    const int folder = open(".", O_RDONLY);
    if (flock(folder, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) return std::fputs("error: another run is under way in this folder\n", stderr), 1;
    std::string why;
    try
    {
        // at once: what an earlier run has left is not to be taken for what this one has found, however it ends
        std::filesystem::remove_all(RESULTS);
        std::filesystem::remove_all(MADE);
        if (!missing.empty()) throw Wrong(missing);
        Run run(plan);
        try { run.everything(differentiate, threads); }
        catch (const snn::Failure& f) { throw std::runtime_error(run.explain(f)); }
        return 0;
    }
    catch (const std::bad_alloc&) { why = "out of memory; make batches smaller"; }
    catch (const std::exception& e) { why = e.what(); }
    std::fprintf(stderr, "error: %s\n", why.c_str());
    std::error_code ignored;
    std::filesystem::remove_all(MADE, ignored);
    return 1;
}

}  // namespace snn_project
