#include "program.h"
#include "once.h"
#include "project.h"
#include "plan.h"

int main(int words, char** given) { return snn_project::main_of(snn_project::PLAN, "", words, given); }
