/* A driver's library that is none: four GPUs whose readings move, for the dashboards to show. It tells
 * what libnvidia-ml.so.1 does, by the same calls; tests/gpu/driver.c is its elder brother, which can
 * also fail. The load is made up of two waves; power, heat, clocks and counters follow from it. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { GPUS = 4, NOT_SUPPORTED = 3, TIMEOUT = 10 };

static const double SLOW = 41, FAST = 7, IDLE_WATTS = 95, MOST_WATTS = 690, POWER_CAP = 600;
static const unsigned long long GIB = 1ULL << 30;

typedef struct gpu { int number; } *device;
static struct gpu gpus[GPUS];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double slow(device d) { return 0.56 + 0.26 * sin(now() / SLOW + d->number * 1.3); }
static double load(device d) { return slow(d) + 0.14 * sin(now() / FAST + d->number); }
static double watts(device d) { return fmin(IDLE_WATTS + (MOST_WATTS - IDLE_WATTS) * load(d), POWER_CAP); }

/* What has passed since the machine started, at so much a second; the waves are in it. */
static double sum(device d, double each_second) {
    double waves = -0.26 * SLOW * cos(now() / SLOW + d->number * 1.3) - 0.14 * FAST * cos(now() / FAST + d->number);
    return each_second * (0.56 * now() + waves + 20);
}

int nvmlInit_v2(void) {
    for (int i = 0; i < GPUS; i++) gpus[i].number = i;
    return 0;
}

int nvmlShutdown(void) { return 0; }

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    snprintf(text, length, "550.54.15");
    return 0;
}

/* === Which there are === */

int nvmlDeviceGetCount_v2(unsigned *count) { *count = GPUS; return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *d) {
    if (index >= GPUS) return 2;
    *d = &gpus[index];
    return 0;
}

int nvmlDeviceGetUUID(device d, char *text, unsigned length) {
    snprintf(text, length, "GPU-%08d", d->number);
    return 0;
}

int nvmlDeviceGetName(device d, char *text, unsigned length) {
    (void)d;
    snprintf(text, length, "Simulated GPU");
    return 0;
}

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };

int nvmlDeviceGetPciInfo_v3(device d, struct pci *pci) {
    memset(pci, 0, sizeof *pci);
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", d->number + 16);
    return 0;
}

int nvmlDeviceGetMigMode(device d, unsigned *current, unsigned *pending) {
    (void)d;
    *current = *pending = 0;
    return 0;
}

/* === What they tell === */

struct memory { unsigned version; unsigned long long total, reserved, free, used; };

int nvmlDeviceGetMemoryInfo_v2(device d, struct memory *m) {
    m->total = 80 * GIB;
    m->reserved = GIB / 2;
    m->used = (unsigned long long)((66 + d->number + 4 * load(d)) * GIB);
    m->free = m->total - m->used - m->reserved;
    return 0;
}

int nvmlDeviceGetUtilizationRates(device d, unsigned rates[2]) {
    rates[0] = (unsigned)(100 * load(d));
    rates[1] = (unsigned)(60 * load(d));
    return 0;
}

int nvmlDeviceGetPowerUsage(device d, unsigned *mw) { *mw = (unsigned)(watts(d) * 1000); return 0; }

int nvmlDeviceGetEnforcedPowerLimit(device d, unsigned *mw) {
    (void)d;
    *mw = (unsigned)(POWER_CAP * 1000);
    return 0;
}

int nvmlDeviceGetTotalEnergyConsumption(device d, unsigned long long *mj) {
    *mj = (unsigned long long)(1000 * (IDLE_WATTS * now() + sum(d, MOST_WATTS - IDLE_WATTS)));
    return 0;
}

int nvmlDeviceGetTemperature(device d, unsigned sensor, unsigned *celsius) {
    (void)sensor;
    *celsius = (unsigned)(36 + 44 * slow(d));
    return 0;
}

int nvmlDeviceGetClockInfo(device d, unsigned domain, unsigned *mhz) {
    *mhz = domain == 1 ? (unsigned)(1980 - 240 * fmax(0, load(d) - 0.7)) : 2619;
    return 0;
}

/* Held down by the limit of power (4) at the top of the waves. */
int nvmlDeviceGetCurrentClocksThrottleReasons(device d, unsigned long long *reasons) {
    *reasons = watts(d) >= POWER_CAP ? 4 : 0;
    return 0;
}

int nvmlDeviceGetTotalEccErrors(device d, unsigned kind, unsigned counter, unsigned long long *count) {
    (void)counter;
    *count = kind == 0 ? d->number : 0;
    return 0;
}

struct field {
    unsigned id, scope;
    long long timestamp, latency;
    unsigned type;
    int code;
    union { double d; unsigned u; unsigned long long ull; } value;
};

int nvmlDeviceGetFieldValues(device d, int count, struct field *fields) {
    for (struct field *f = fields; f < fields + count; f++) {
        f->code = 0;
        f->type = 3;
        switch (f->id) {
        case 82: f->type = 1; f->value.u = (unsigned)(42 + 48 * slow(d)); break;
        case 74: f->value.ull = (unsigned long long)sum(d, 0.1e9); break;
        case 251: case 252: case 253: case 269: case 270: case 271: f->value.ull = 0; break;
        case 197: f->value.ull = (unsigned long long)sum(d, 90e6); break;
        case 198: f->value.ull = (unsigned long long)sum(d, 240e6); break;
        case 138: case 139: f->value.ull = (unsigned long long)sum(d, 11e6 + 1e6 * (f->id == 139)); break;
        default: f->code = NOT_SUPPORTED;
        }
    }
    return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned *count, void *list) {
    (void)d, (void)list;
    *count = 0;
    return 0;
}

/* === Events: none ever comes === */

int nvmlDeviceGetSupportedEventTypes(device d, unsigned long long *types) { (void)d; *types = 8; return 0; }
int nvmlEventSetCreate(void **set) { *set = gpus; return 0; }
int nvmlEventSetFree(void *set) { (void)set; return 0; }

int nvmlDeviceRegisterEvents(device d, unsigned long long types, void *set) {
    (void)d, (void)types, (void)set;
    return 0;
}

int nvmlEventSetWait_v2(void *set, void *event, unsigned ms) {
    (void)set, (void)event;
    usleep(ms * 1000);
    return TIMEOUT;
}

/* === How busy the parts of a GPU are === */

struct support { unsigned version, is_supported; };

int nvmlGpmQueryDeviceSupport(device d, struct support *support) {
    (void)d;
    support->is_supported = 1;
    return 0;
}

int nvmlGpmSampleAlloc(void **sample) { *sample = malloc(sizeof(double)); return 0; }
int nvmlGpmSampleFree(void *sample) { free(sample); return 0; }
int nvmlGpmSampleGet(device d, void *sample) { *(double *)sample = load(d); return 0; }

struct metric { unsigned id; int code; double value; struct { char *a, *b, *c; } info; };
struct metrics { unsigned version, count; void *sample1, *sample2; struct metric metrics[]; };

int nvmlGpmMetricsGet(struct metrics *m) {
    for (struct metric *each = m->metrics; each < m->metrics + m->count; each++) {
        memset(&each->info, 0, sizeof each->info);
        /* Multiprocessors, tensor cores, bandwidth of the memory. */
        double part = each->id == 2 ? 0.8 : each->id == 5 ? 0.3 : 0.65;
        each->code = 0;
        each->value = 100 * part * *(double *)m->sample2;
    }
    return 0;
}
