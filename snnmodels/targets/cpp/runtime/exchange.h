// A program that shares a file of arrays with Python and answers one word with another; see process.py. What it is asked, and
// what lies where in the file, is a matter of those who derive from it. Without Python, it is asked by the code around it and
// works on memory of that; see projects/files/project.h.
#pragma once
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <new>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "failure.h"

namespace snn {

class Exchange
{
public:
    virtual ~Exchange() {}
    // Until the word quit or the end of the input; returns only where the program could not begin
    int serve(const char* path)
    {
        file = open(path, O_RDWR);
        if (file < 0) return std::fprintf(stderr, "cannot open %s: %s\n", path, std::strerror(errno)), 3;
        say("ready");
        char given[32];
        while (std::scanf("%31s", given) == 1)
        {
            const std::string word = given;
            if (word == "quit") break;
            try { say(answer(word) ? "done" : "error unknown word " + word); }
            catch (const Failure& f)
            {
                char text[200];
                std::snprintf(text, sizeof text, "failure %s %d %d %.17g", f.what, f.population, f.neuron, f.time);
                say(text);
            }
            catch (const std::bad_alloc&) { say("error out of memory"); }
            catch (const std::exception& e) { say(std::string("error ") + e.what()); }
        }
        std::_Exit(0);
    }
    // In the place of `serve`: memory as the file would be, and a word, with the number that goes with some
    void lend(void* given) { memory = static_cast<char*>(given), lent = true; }
    void ask(const std::string& word, int with = -1)
    {
        told = with;
        if (!answer(word)) throw std::runtime_error("unknown word " + word);
    }

protected:
    virtual bool answer(const std::string& word) = 0;  // false for one that it does not know

    // Maps the file as it is now; the description at its start is read number by number
    void map()
    {
        if (!lent)
        {
            struct stat s;
            if (memory) munmap(memory, length);
            memory = nullptr;
            fstat(file, &s);
            length = std::size_t(s.st_size);
            void* mapped = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            if (mapped == MAP_FAILED) throw std::bad_alloc();
            memory = static_cast<char*>(mapped);
        }
        cursor = reinterpret_cast<const std::int64_t*>(memory);
    }
    std::int64_t number() { return *cursor++; }
    // The number that goes with a word, -1 where there is none
    int argument()
    {
        int k = told;
        if (!lent && std::scanf("%d", &k) != 1) k = -1;
        return k;
    }
    // The array whose place is the next number, null where there is none
    template <class T> T* array()
    {
        const std::int64_t offset = number();
        return offset < 0 ? nullptr : reinterpret_cast<T*>(memory + offset);
    }

private:
    void say(const std::string& text) { std::puts(text.c_str()), std::fflush(stdout); }

    int file = -1, told = -1;
    bool lent = false;
    char* memory = nullptr;
    std::size_t length = 0;
    const std::int64_t* cursor = nullptr;
};

}  // namespace snn
