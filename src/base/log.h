/* Logs to stderr in klog's format. Library code below the components does not log: it returns a status. */
#ifndef CKUBE_BASE_LOG_H
#define CKUBE_BASE_LOG_H
#include "base/macros.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
void log_set_verbosity(int v); /* upstream's -v: LOG_DEBUG lines appear from 4 up */
int log_verbosity(void);
void log_write(enum log_level level, const char *file, int line, const char *format, ...) PRINTF_LIKE(4, 5);
#define log_error(...) log_write(LOG_ERROR, __FILE__, __LINE__, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __FILE__, __LINE__, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __FILE__, __LINE__, __VA_ARGS__)
#define log_debug(...) (log_verbosity() >= 4 ? log_write(LOG_DEBUG, __FILE__, __LINE__, __VA_ARGS__) : (void)0)
#endif
