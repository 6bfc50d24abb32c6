/* A driver's library that is none: what the tests of GPUs load in place of libnvidia-ml.so.1.
 *
 * Each copy of the file that is loaded has GPUs of its own. A test says what they do by `fake`; what
 * runs in another process, by the variables that are read when the library is opened; FAKE_PROCESSES
 * is a file that is read anew each time.
 *
 * -DRENUMBERED gives fields the numbers that they have since driver 580.82; -DEMPTY leaves all
 * symbols out, -DBARE all but the one that opens it. -DWORN makes it answer 18 (version mismatch)
 * after so many calls; -DNAME gives GPUs another name, and -DPROCESS processes other memory. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef DRIVER
#define DRIVER "550.54.15"
#endif
#ifndef NAME
#define NAME "NVIDIA H100"
#endif
#ifndef PROCESS
#define PROCESS 5LL << 30
#endif

enum { GPUS = 16, PARTS = 7, MACHINE = 15 };

/* What can be said of a GPU; the same list is in driver.rs. Codes come first, each with the calls
 * that return it. MACHINE has those of the whole. */
enum what {
    RC_ALL, RC_MEMORY, RC_LOAD, RC_POWER, RC_LIMIT, RC_ENERGY, RC_TEMPERATURE, RC_CLOCK, RC_THROTTLE,
    RC_ECC, RC_FIELDS, RC_EVENTS, RC_REGISTER, RC_PROCESSES, RC_IDENTITY,
    HANG, USED, TOTAL, LOAD, ENERGY, THROTTLE, PARTS_MASK, PID, PID_SLOT, XID, GPM,
    COUNT, RC_INIT, CALLS, OPEN,
    WHATS
};

struct part { int gpu; int slot; };

static volatile long long said[GPUS][WHATS];
static struct part wholes[GPUS], parts[GPUS][PARTS];
static int is_ready;
static const char *processes;

static void prepare(void) {
    if (is_ready) return;
    is_ready = 1;
    said[MACHINE][COUNT] = 8;
    for (int gpu = 0; gpu < GPUS; gpu++) {
        wholes[gpu] = (struct part){gpu, -1};
        for (int slot = 0; slot < PARTS; slot++) parts[gpu][slot] = (struct part){gpu, slot};
        said[gpu][TOTAL] = 80LL << 30;
        said[gpu][USED] = (gpu + 1LL) << 30;
        said[gpu][LOAD] = 37;
        said[gpu][ENERGY] = 1000500 + gpu;
        said[gpu][RC_EVENTS] = 0;
    }
    const char *hang = getenv("FAKE_HANG"), *count = getenv("FAKE_COUNT");
    if (hang) said[atoi(hang)][HANG] = 1;
    if (count) said[MACHINE][COUNT] = atoi(count);
    const char *parts_of_1 = getenv("FAKE_PARTS"), *refuse = getenv("FAKE_REFUSE_PROCESSES");
    if (parts_of_1) said[1][PARTS_MASK] = atoi(parts_of_1);
    for (int gpu = 0; refuse && gpu < GPUS; gpu++) said[gpu][RC_PROCESSES] = atoi(refuse);
    processes = getenv("FAKE_PROCESSES");
}

#ifndef EMPTY

int nvmlInit_v2(void) {
    prepare();
    if (!said[MACHINE][RC_INIT]) said[MACHINE][OPEN]++;
    return said[MACHINE][RC_INIT];
}

#endif
#if !defined(EMPTY) && !defined(BARE)

typedef struct part *device;

void fake(int gpu, int what, long long value) { prepare(); said[gpu][what] = value; }
long long faked(int gpu, int what) { return said[gpu][what]; }

static int answer(device d, int what) {
    long long calls = ++said[MACHINE][CALLS];
#ifdef WORN
    if (calls > WORN) return 18;
#endif
    (void)calls;
    if (!d) return said[MACHINE][RC_ALL];
    return said[d->gpu][RC_ALL] ? said[d->gpu][RC_ALL] : said[d->gpu][what];
}

/* What a part of a GPU does not tell, and what a whole does. */
static int answer_of_whole(device d, int what) {
    int code = answer(d, what);
    return code ? code : d->slot >= 0 ? 3 : 0;
}

#define TRY(call) do { int code = (call); if (code) return code; } while (0)

int nvmlShutdown(void) { said[MACHINE][OPEN]--; return 0; }

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    snprintf(text, length, DRIVER);
    return 0;
}

/* === Which there are === */

int nvmlDeviceGetCount_v2(unsigned *count) {
    TRY(answer(NULL, RC_ALL));
    *count = said[MACHINE][COUNT];
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *d) {
    if (index >= said[MACHINE][COUNT]) return 2;
    *d = &wholes[index];
    return answer(*d, RC_IDENTITY);
}

int nvmlDeviceGetUUID(device d, char *text, unsigned length) {
    if (d->slot < 0) snprintf(text, length, "GPU-%08d", d->gpu);
    else snprintf(text, length, "MIG-%04d-%d", d->gpu, d->slot);
    return answer(d, RC_IDENTITY);
}

int nvmlDeviceGetName(device d, char *text, unsigned length) {
    snprintf(text, length, NAME "%s", d->slot < 0 ? "" : " MIG 1g.10gb");
    return 0;
}

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };

int nvmlDeviceGetPciInfo_v3(device d, struct pci *pci) {
    memset(pci, 0, sizeof *pci);
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", d->gpu + 16);
    return 0;
}

int nvmlDeviceGetMigMode(device d, unsigned *current, unsigned *pending) {
    *current = *pending = said[d->gpu][PARTS_MASK] != 0;
    return 0;
}

int nvmlDeviceGetMaxMigDeviceCount(device d, unsigned *count) { (void)d; *count = PARTS; return 0; }

int nvmlDeviceGetMigDeviceHandleByIndex(device d, unsigned slot, device *part) {
    if (!(said[d->gpu][PARTS_MASK] >> slot & 1)) return 6;
    *part = &parts[d->gpu][slot];
    return 0;
}

/* Slots 5 and 6 are two compute instances of one GPU instance. */
int nvmlDeviceGetGpuInstanceId(device d, unsigned *id) { *id = d->slot == 6 ? 12 : d->slot + 7; return 0; }
int nvmlDeviceGetComputeInstanceId(device d, unsigned *id) { *id = d->slot == 6; return 0; }

/* === What they tell === */

struct memory { unsigned version; unsigned long long total, reserved, free, used; };

int nvmlDeviceGetMemoryInfo_v2(device d, struct memory *m) {
    TRY(answer(d, RC_MEMORY));
    if (d->slot >= 0 && !(said[d->gpu][PARTS_MASK] >> d->slot & 1)) return 2;
    long long share = d->slot < 0 ? 1 : PARTS;
    m->total = said[d->gpu][TOTAL] / share;
    m->used = said[d->gpu][USED] / share;
    m->reserved = (500LL << 20) / share;
    m->free = m->total - m->used - m->reserved;
    return 0;
}

int nvmlDeviceGetUtilizationRates(device d, unsigned rates[2]) {
    while (said[d->gpu][HANG]) usleep(1000);
    TRY(answer_of_whole(d, RC_LOAD));
    if (said[d->gpu][PARTS_MASK]) return 3;
    rates[0] = said[d->gpu][LOAD];
    rates[1] = 7;
    return 0;
}

int nvmlDeviceGetPowerUsage(device d, unsigned *mw) { *mw = 312345; return answer_of_whole(d, RC_POWER); }
int nvmlDeviceGetEnforcedPowerLimit(device d, unsigned *mw) { *mw = 700000; return answer_of_whole(d, RC_LIMIT); }

int nvmlDeviceGetTotalEnergyConsumption(device d, unsigned long long *mj) {
    *mj = said[d->gpu][ENERGY];
    return answer_of_whole(d, RC_ENERGY);
}

int nvmlDeviceGetTemperature(device d, unsigned sensor, unsigned *celsius) {
    (void)sensor;
    *celsius = 54;
    return answer_of_whole(d, RC_TEMPERATURE);
}

int nvmlDeviceGetClockInfo(device d, unsigned domain, unsigned *mhz) {
    *mhz = domain == 1 ? 1980 : 2619;
    return answer_of_whole(d, RC_CLOCK);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(device d, unsigned long long *reasons) {
    *reasons = said[d->gpu][THROTTLE];
    return answer_of_whole(d, RC_THROTTLE);
}

int nvmlDeviceGetTotalEccErrors(device d, unsigned kind, unsigned counter, unsigned long long *count) {
    *count = counter == 0 ? kind + 1 : 999;
    return answer_of_whole(d, RC_ECC);
}

struct field {
    unsigned id, scope;
    long long timestamp, latency;
    unsigned type;
    int code;
    union { double d; unsigned u; unsigned long long ull; } value;
};

int nvmlDeviceGetFieldValues(device d, int count, struct field *fields) {
    TRY(answer_of_whole(d, RC_FIELDS));
    for (int i = 0; i < count; i++) {
        struct field *f = &fields[i];
        int is_all = f->scope == 0xFFFFFFFFu;
        f->code = 0;
        f->type = 3;
        switch (f->id) {
        case 82: f->type = 1; f->value.u = 61; break;
        case 74: f->value.ull = 1500000000; break;
#ifdef RENUMBERED
        case 251: case 252: f->value.ull = 99; break;
        case 269: case 270: f->value.ull = 250000000; break;
#else
        case 251: case 252: f->value.ull = 250000000; break;
#endif
        case 197: f->value.ull = 111; break;
        case 198: f->value.ull = 222; break;
        case 138: f->value.ull = is_all ? 18000 : 1000; break;
        case 139: f->value.ull = is_all ? 19000 : 1000; break;
        default: f->code = 3;
        }
    }
    return 0;
}

struct process { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; };

/* One that a test has said, in the slot before PID_SLOT or in each; and those of the file, each a line
 * with GPU, slot (-1: none) and number. A whole has those of its parts too. */
int nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned *count, struct process *list) {
    TRY(answer(d, RC_PROCESSES));
    struct process all[16];
    unsigned room = *count, found = 0, pid;
    int gpu, slot, only = said[d->gpu][PID_SLOT];
    if (said[d->gpu][PID] && (d->slot < 0 || !only || only == d->slot + 1)) {
        all[found++] = (struct process){said[d->gpu][PID], PROCESS, 0xFFFFFFFF, 0xFFFFFFFF};
    }
    FILE *file = processes ? fopen(processes, "r") : NULL;
    while (file && found < 16 && fscanf(file, "%d %d %u", &gpu, &slot, &pid) == 3) {
        if (gpu != d->gpu || (d->slot >= 0 && d->slot != slot)) continue;
        all[found++] = (struct process){pid, PROCESS, 0xFFFFFFFF, 0xFFFFFFFF};
    }
    if (file) fclose(file);
    *count = found;
    if (room < found) return 7;
    if (list) memcpy(list, all, found * sizeof *all);
    return 0;
}

/* === Events === */

static int set_in_use;
static int is_registered[GPUS];

int nvmlDeviceGetSupportedEventTypes(device d, unsigned long long *types) {
    *types = 8;
    return answer(d, RC_EVENTS);
}

int nvmlEventSetCreate(void **set) { set_in_use++; *set = &set_in_use; return 0; }
int nvmlEventSetFree(void *set) { (void)set; set_in_use--; memset(is_registered, 0, sizeof is_registered); return 0; }

int nvmlDeviceRegisterEvents(device d, unsigned long long types, void *set) {
    (void)set;
    if (types != 8) return 2;
    is_registered[d->gpu] = !said[d->gpu][RC_REGISTER];
    return answer(d, RC_REGISTER);
}

struct event { device d; unsigned long long type, data; unsigned gpu_instance, compute_instance; };

int nvmlEventSetWait_v2(void *set, struct event *event, unsigned ms) {
    (void)set;
    for (unsigned waited = 0; waited <= ms; waited++) {
        for (int gpu = 0; gpu < GPUS; gpu++) {
            if (is_registered[gpu] && said[gpu][XID]) {
                *event = (struct event){&wholes[gpu], 8, said[gpu][XID], 0, 0};
                said[gpu][XID] = 0;
                return 0;
            }
        }
        usleep(1000);
    }
    return 10;
}

/* === How busy the parts of a GPU are === */

struct support { unsigned version, is_supported; };

int nvmlGpmQueryDeviceSupport(device d, struct support *support) {
    support->is_supported = said[d->gpu][GPM] != 0;
    return 0;
}

int nvmlGpmSampleAlloc(void **sample) { *sample = malloc(sizeof(long long)); return 0; }
int nvmlGpmSampleFree(void *sample) { free(sample); return 0; }

int nvmlGpmSampleGet(device d, void *sample) {
    if (said[d->gpu][PARTS_MASK]) return 3;
    *(long long *)sample = said[d->gpu][GPM];
    return 0;
}

int nvmlGpmMigSampleGet(device d, unsigned gpu_instance, void *sample) {
    if (!said[d->gpu][PARTS_MASK] || d->slot >= 0) return 3;
    *(long long *)sample = said[d->gpu][GPM] + gpu_instance;
    return 0;
}

struct metric { unsigned id; int code; double value; struct { char *a, *b, *c; } info; };
struct metrics { unsigned version, count; void *sample1, *sample2; struct metric metrics[]; };

int nvmlGpmMetricsGet(struct metrics *m) {
    for (unsigned i = 0; i < m->count; i++) {
        memset(&m->metrics[i].info, 0, sizeof m->metrics[i].info);
        m->metrics[i].code = m->metrics[i].id == 10 ? 3 : 0;
        m->metrics[i].value = *(long long *)m->sample2;
    }
    return 0;
}

#endif
