/* Times as the API writes them: metav1.Time (whole seconds, UTC) and MicroTime (six digits), and durations as people read them. */
#ifndef CKUBE_API_TIME_H
#define CKUBE_API_TIME_H
#include "api/schema.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

int time_parse(const char *text, struct api_time *ret, struct status *reterr);        /* RFC 3339, any offset; fractions are dropped */
int micro_time_parse(const char *text, struct api_time *ret, struct status *reterr);  /* fractions are kept to the microsecond */
int micro_time_decode(const char *text, struct api_time *ret, struct status *reterr); /* of a MicroTime in JSON: its fraction has six digits */
void time_format(const struct api_time *t, struct buf *out);                           /* 2006-01-02T15:04:05Z */
void micro_time_format(const struct api_time *t, struct buf *out);                     /* 2006-01-02T15:04:05.000000Z */
bool date_parse(const char *text, int64_t *ret_s);                                    /* 2006-01-02, its beginning in UTC; false: it is none */
char *date_string(struct arena *a, int64_t sec);
static inline struct api_time time_from_s(int64_t sec) { return (struct api_time){true, 0, sec}; }
static inline struct api_time micro_time_from_ns(int64_t ns) { return (struct api_time){true, (int32_t)(ns % 1000000000 / 1000 * 1000), ns / 1000000000}; }

/* kubectl's Age column: 5s, 3m20s, 5h30m, 4d, 2y10d. Upstream: util/duration.HumanDuration. */
char *human_duration(struct arena *a, int64_t seconds);
/* Go's durations: "300ms", "1h15m0s", "-2s"; false: it is none. And as Go prints them. */
bool duration_parse(const char *text, int64_t *ret_ns);
char *duration_string(struct arena *a, int64_t ns);
#endif
